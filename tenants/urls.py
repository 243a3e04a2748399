urlpatterns = []
app_name = "tenants"
