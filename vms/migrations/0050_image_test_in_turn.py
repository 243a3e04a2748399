from django.db import migrations, models


class Migration(migrations.Migration):
    """A test boot has a host only once its turn has come; an image has one that is not over, with a host or not yet."""

    dependencies = [
        ("vms", "0048_card_counters"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="imagetest",
            name="image_test_one_at_a_time",
        ),
        migrations.AddConstraint(
            model_name="imagetest",
            constraint=models.UniqueConstraint(
                "image", condition=models.Q(ended_at__isnull=True), name="image_test_one_at_a_time"
            ),
        ),
    ]
