octet_length("_judged"."photo") < 1
