"""Dates and times that sort, on 24 hours and with their zone, as on the other pages."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s T"
