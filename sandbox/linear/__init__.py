"""The stand-in for Linear: its GraphQL API and its signed webhooks."""
