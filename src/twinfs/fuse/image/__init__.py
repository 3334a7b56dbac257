"""A mounted image: the kernel's requests, and the reader that answers them."""
