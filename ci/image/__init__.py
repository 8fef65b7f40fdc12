"""What the images are made of: `wheels.py` fetches their packages."""
