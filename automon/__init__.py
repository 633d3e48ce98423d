"""automon watches automation: what the scheduler, the jobs and the notifiers share."""

__version__ = "0.2.0"
