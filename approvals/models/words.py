"""What people find requests by, apart from the requests: it is read by nothing but a search."""

from typing import ClassVar

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from approvals.models.request import ApprovalRequest


class RequestWords(models.Model):
    """The words of one request, as lexemes without places."""

    request = models.OneToOneField(
        ApprovalRequest, models.CASCADE, primary_key=True, related_name="words"
    )
    lexemes = SearchVectorField()

    class Meta:
        verbose_name_plural = "words of requests"
        indexes: ClassVar = [GinIndex(fields=["lexemes"], name="idx_request_words")]

    def __str__(self) -> str:
        return str(self.request_id)
