"""Views of a content, in the order and form in which they are sent, and the response bodies made of them."""
