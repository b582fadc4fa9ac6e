"""Pictures and pages: plots, the report of a fit, the gallery of flows."""
