urlpatterns: list = []
app_name = "tenants"
