from metalayer import model


@model
def churn_risk(silver__orders):
    return silver__orders
