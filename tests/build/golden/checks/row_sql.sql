NOT (
amount >= 0 -- never negative
)
