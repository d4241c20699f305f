"""Django admin for operators: rows are read here, and changed only through the verbs."""

from django.contrib import admin

from approvals.admin import deliveries, people, records, requests, tokens

__all__ = ["deliveries", "people", "records", "requests", "tokens"]

admin.site.site_header = "Approval gateway"
admin.site.site_title = "Approval gateway"
admin.site.index_title = "Operation"
