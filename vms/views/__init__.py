"""Pages of the product: object, form, service, render."""
