"""What ties the ports to a technology: blinker, SQLAlchemy, the system clock."""
