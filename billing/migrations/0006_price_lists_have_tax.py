from decimal import Decimal

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """What is there has none: what was issued says the same."""

    dependencies = [("billing", "0005_statements_never_change")]
    operations = [
        migrations.AddField(
            model_name="pricelist",
            name="tax_percent",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=2,
                default=Decimal("0"),
                max_digits=5,
                validators=[
                    django.core.validators.MinValueValidator(0),
                    django.core.validators.MaxValueValidator(100),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="pricelist",
            constraint=models.CheckConstraint(
                condition=models.Q(("tax_percent__gte", 0), ("tax_percent__lte", 100)),
                name="price_list_tax_in_percent",
            ),
        ),
    ]
