"""The tables; pyproject.toml names the modules that may import them, and nothing else may."""

from approvals.models.delivery import ChannelPause, Delivery, Heartbeat
from approvals.models.identity import CurrentIdentity, DatabaseIdentity
from approvals.models.metrics import MetricLabel, RolledUpRequests, RollUpMark, Tally
from approvals.models.owed import ClockTimestamp, Owed
from approvals.models.people import ApiToken, ApproverProfile, ProviderIdentity
from approvals.models.request import ApprovalRequest, AuditEntry, Vote, VoteRefusal
from approvals.models.spared import SparedRequest
from approvals.models.webhook import InboundWebhook
from approvals.models.words import RequestWords

__all__ = [
    "ApiToken",
    "ApprovalRequest",
    "ApproverProfile",
    "AuditEntry",
    "ChannelPause",
    "ClockTimestamp",
    "CurrentIdentity",
    "DatabaseIdentity",
    "Delivery",
    "Heartbeat",
    "InboundWebhook",
    "MetricLabel",
    "Owed",
    "ProviderIdentity",
    "RequestWords",
    "RollUpMark",
    "RolledUpRequests",
    "SparedRequest",
    "Tally",
    "Vote",
    "VoteRefusal",
]
