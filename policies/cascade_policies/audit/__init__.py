"""The audit of a workload: what each kind of call costs, and what it seems to need.

Read calls with `read_calls`, judge them with `audit_calls`, write a project with `write_project`.
"""
