"""What speaks HTTP: applications in the ASGI form, each mountable in any server, and the server that runs them."""
