(length("_judged"."say ""hi""") < 1 OR length("_judged"."say ""hi""") > 64)
