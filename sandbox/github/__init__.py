"""The stand-in for GitHub: pull requests, their comments, commit statuses and workflow runs."""
