"""What people see of billing."""
