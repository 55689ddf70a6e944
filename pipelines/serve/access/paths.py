"""Where the API takes requests for pictures, and what it serves beside."""

PICTURES = "/v1/images/generations"
EDITS = "/v1/images/edits"
ASSETS = "/assets"  # of the page of docs
