"""Where builders run: threads of this process, or worker processes that a hung build cannot outlive."""
