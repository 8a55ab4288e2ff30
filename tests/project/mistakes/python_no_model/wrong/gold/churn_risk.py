def churn_risk(silver__orders):
    return silver__orders
