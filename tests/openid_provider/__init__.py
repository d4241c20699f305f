"""A real OpenID provider, django-oauth-toolkit, in a process of its own."""

# How the gateway is registered there. Signing with the secret takes 32 bytes or more.
CLIENT_ID = "gateway"
CLIENT_SECRET = "what the gateway and its provider share, of 32 bytes or more"
