"_judged"."say ""hi""" IS NULL
