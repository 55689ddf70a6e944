"""The endpoint: an HTTP application, its services, and how Ray Serve deploys them."""
