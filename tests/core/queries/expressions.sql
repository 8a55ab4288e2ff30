cast(amount as varchar) as a
amount::integer b
try_cast(note as bigint) c
date '2020-01-01' as d
timestamp '2020-01-01 00:00' as ts
interval 1 day as iv
1 as one
3000000000 as big
1.5 as dec
'x' as s
true as t
null as n
[1,2] as l
{'a': 1} as st
map {'k': 1} as mp
amount is null as isn
not (id = 1) as nt
id between 1 and 2 as bt
note like 'a%' as lk
coalesce(note, 'x') as co
coalesce(amount, 0) as co2
case when id = 1 then 'a' else note end as cs
case when id=1 then 1 end as cs2
if(id = 1, 2, 3) as fi
lower(note) as lo
sum(id) over () as su
sum(amount) over () as sa
count(*) over () as cn
current_date as cd
rank() over (order by id) as ra
dense_rank() over (order by id) dr
max(amount) over () as mx
-amount as neg
id + 1 as pl
note || 'x' as cc
nullif(id, 1) as nf
greatest(id, 2) as gr
round(amount, 1) as ro
extract(year from sold_on) as yr
date_trunc('month', sold_on) as dt
ordered_at at time zone 'UTC' as tz
strftime(sold_on, '%Y') as sf
id is distinct from 1 as idf
starts_with(note, 'a') as sw
first_value(note) over (order by id) fv
length(note) as le
trim(note) as tr
