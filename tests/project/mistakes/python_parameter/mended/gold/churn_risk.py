"""Customers who may leave."""

from metalayer import model


@model(key="customer_id", description="Customers who may leave.", checks=[{"not_null": "risk"}])
def churn_risk(silver__orders, silver__customers):
    return silver__customers
