"""Territories and currencies as data: codes, names and calling codes, in the compact form that `cleaning` searches.

Facts of ISO 3166-1 and ISO 4217 as the Unicode CLDR gives them (through Babel 2.18), under the Unicode License v3
(SPDX: Unicode-3.0); calling codes and national prefixes are those of the ITU's E.164 plan as phonenumbers 9.0 gives
them (SPDX: Apache-2.0). Names are the short ones in English, German, French, Italian and Spanish and some that are as
usual, without accents, blanks and signs. One territory a line: its two and three letters, its number, its calling code,
the prefix of national calls, its names; `-` where there is none.

Nothing here is searched: that is `cleaning`'s.
"""

from __future__ import annotations

import functools

TERRITORIES = """
AD AND 020 376 - andorra andorre
AE ARE 784 971 0 unitedarabemirates vereinigtearabischeemirate emiratsarabesunis emiratiarabiuniti
    emiratosarabesunidos uae vae
AF AFG 004 93 0 afghanistan afganistan
AG ATG 028 1 1 antiguabarbuda antiguaundbarbuda antiguaetbarbuda antiguaebarbuda antiguaybarbuda
AI AIA 660 1 1 anguilla anguila
AL ALB 008 355 0 albania albanien albanie
AM ARM 051 374 0 armenia armenien armenie
AO AGO 024 244 - angola
AQ ATA 010 - - antarctica antarktis antarctique antartide antartida
AR ARG 032 54 0 argentina argentinien argentine
AS ASM 016 1 1 americansamoa amerikanischsamoa samoaamericaines samoaamericane samoaamericana
AT AUT 040 43 0 austria osterreich autriche
AU AUS 036 61 0 australia australien australie
AW ABW 533 297 - aruba
AX ALA 248 358 0 alandislands alandinseln ilesaland isolealand islasaland
AZ AZE 031 994 0 azerbaijan aserbaidschan azerbaidjan azerbaigian azerbaiyan
BA BIH 070 387 0 bosniaherzegovina bosnienundherzegowina bosnieherzegovine bosniaederzegovina bosniayherzegovina
BB BRB 052 1 1 barbados barbade
BD BGD 050 880 0 bangladesh bangladesch banglades
BE BEL 056 32 0 belgium belgien belgique belgio belgica
BF BFA 854 226 - burkinafaso
BG BGR 100 359 0 bulgaria bulgarien bulgarie
BH BHR 048 973 - bahrain bahrein barein
BI BDI 108 257 - burundi
BJ BEN 204 229 - benin
BL BLM 652 590 0 stbarthelemy saintbarthelemy sanbartolome
BM BMU 060 1 1 bermuda bermudes bermudas
BN BRN 096 673 - brunei bruneidarussalam
BO BOL 068 591 0 bolivia bolivien bolivie boliviaplurinationalstateof
BQ BES 535 599 - caribbeannetherlands karibischeniederlande paysbascaribeens caraibiolandesi caribeneerlandes
BR BRA 076 55 0 brazil brasilien bresil brasile brasil
BS BHS 044 1 1 bahamas
BT BTN 064 975 - bhutan bhoutan butan
BV BVT 074 - - bouvetisland bouvetinsel ilebouvet isolabouvet islabouvet
BW BWA 072 267 - botswana botsuana
BY BLR 112 375 8 belarus bielorussie bielorussia bielorrusia
BZ BLZ 084 501 - belize belice
CA CAN 124 1 1 canada kanada
CC CCK 166 61 0 cocoskeelingislands kokosinseln ilescocos isolecocoskeeling islascocos
CD COD 180 243 0 congokinshasa kongokinshasa republicademocraticadelcongo drcongo congodemocraticrepublicofthe
CF CAF 140 236 - centralafricanrepublic zentralafrikanischerepublik republiquecentrafricaine
    repubblicacentrafricana republicacentroafricana
CG COG 178 242 - congobrazzaville kongobrazzaville congo
CH CHE 756 41 0 switzerland schweiz suisse svizzera suiza swissconfederation schweizerischeeidgenossenschaft
CI CIV 384 225 - cotedivoire costadavorio ivorycoast elfenbeinkuste
CK COK 184 682 - cookislands cookinseln ilescook isolecook islascook
CL CHL 152 56 - chile chili cile
CM CMR 120 237 - cameroon kamerun cameroun camerun
CN CHN 156 86 0 china chine cina peoplesrepublicofchina
CO COL 170 57 0 colombia kolumbien colombie
CR CRI 188 506 - costarica
CU CUB 192 53 0 cuba kuba
CV CPV 132 238 - capeverde caboverde capvert capoverde
CW CUW 531 599 - curacao curazao
CX CXR 162 61 0 christmasisland weihnachtsinsel ilechristmas isolachristmas isladenavidad
CY CYP 196 357 - cyprus zypern chypre cipro chipre
CZ CZE 203 420 - czechia tschechien tchequie cechia chequia czechrepublic tschechischerepublik
DE DEU 276 49 0 germany deutschland allemagne germania alemania federalrepublicofgermany
    bundesrepublikdeutschland brd
DJ DJI 262 253 - djibouti dschibuti gibuti yibuti
DK DNK 208 45 - denmark danemark danimarca dinamarca
DM DMA 212 1 1 dominica dominique
DO DOM 214 1 1 dominicanrepublic dominikanischerepublik republiquedominicaine repubblicadominicana
    republicadominicana
DZ DZA 012 213 0 algeria algerien algerie argelia
EC ECU 218 593 0 ecuador equateur
EE EST 233 372 - estonia estland estonie
EG EGY 818 20 0 egypt agypten egypte egitto egipto
EH ESH 732 212 0 westernsahara westsahara saharaoccidental saharaoccidentale
ER ERI 232 291 0 eritrea erythree
ES ESP 724 34 - spain spanien espagne spagna espana
ET ETH 231 251 0 ethiopia athiopien ethiopie etiopia
FI FIN 246 358 0 finland finnland finlande finlandia
FJ FJI 242 679 - fiji fidschi fidji figi fiyi
FK FLK 238 500 - falklandislands falklandinseln ilesmalouines isolefalkland islasmalvinas
FM FSM 583 691 - micronesia mikronesien micronesie
FO FRO 234 298 - faroeislands faroer ilesferoe isolefaeroer islasferoe
FR FRA 250 33 0 france frankreich francia
GA GAB 266 241 - gabon gabun
GB GBR 826 44 0 unitedkingdom vereinigteskonigreich royaumeuni regnounito reinounido uk greatbritain
    grossbritannien grandebretagne england scotland wales northernireland
GD GRD 308 1 1 grenada grenade granada
GE GEO 268 995 0 georgia georgien georgie
GF GUF 254 594 0 frenchguiana franzosischguayana guyanefrancaise guyanafrancese guayanafrancesa
GG GGY 831 44 0 guernsey guernesey
GH GHA 288 233 0 ghana
GI GIB 292 350 - gibraltar gibilterra
GL GRL 304 299 - greenland gronland groenland groenlandia
GM GMB 270 220 - gambia gambie
GN GIN 324 224 - guinea guinee
GP GLP 312 590 0 guadeloupe guadalupa guadalupe
GQ GNQ 226 240 - equatorialguinea aquatorialguinea guineeequatoriale guineaequatoriale guineaecuatorial
GR GRC 300 30 - greece griechenland grece grecia
GS SGS 239 - - southgeorgiasouthsandwichislands sudgeorgienunddiesudlichensandwichinseln
    georgiedusudetlesilessandwichdusud georgiadelsudesandwichaustrali islasgeorgiadelsurysandwichdelsur
GT GTM 320 502 - guatemala
GU GUM 316 1 1 guam
GW GNB 624 245 - guineabissau guineebissau guineabisau
GY GUY 328 592 - guyana
HK HKG 344 852 - hongkongsarchina sonderverwaltungsregionhongkong raschinoisedehongkong rasdihongkong
    raedehongkongchina hongkong
HM HMD 334 - - heardmcdonaldislands heardundmcdonaldinseln ilesheardetmacdonald isoleheardemcdonald
    islasheardymcdonald
HN HND 340 504 - honduras
HR HRV 191 385 0 croatia kroatien croatie croazia croacia
HT HTI 332 509 - haiti
HU HUN 348 36 06 hungary ungarn hongrie ungheria hungria
ID IDN 360 62 0 indonesia indonesien indonesie
IE IRL 372 353 0 ireland irland irlande irlanda
IL ISR 376 972 0 israel israele
IM IMN 833 44 0 isleofman iledeman isoladiman islademan
IN IND 356 91 0 india indien inde
IO IOT 086 246 - britishindianoceanterritory britischesterritoriumimindischenozean
    territoirebritanniquedeloceanindien territoriobritannicodelloceanoindiano territoriobritanicodeloceanoindico
IQ IRQ 368 964 0 iraq irak
IR IRN 364 98 0 iran iranislamicrepublicof
IS ISL 352 354 - iceland island islande islanda islandia
IT ITA 380 39 - italy italien italie italia
JE JEY 832 44 0 jersey
JM JAM 388 1 1 jamaica jamaika jamaique giamaica
JO JOR 400 962 0 jordan jordanien jordanie giordania jordania
JP JPN 392 81 0 japan japon giappone
KE KEN 404 254 0 kenya kenia
KG KGZ 417 996 0 kyrgyzstan kirgisistan kirghizstan kirghizistan kirguistan
KH KHM 116 855 0 cambodia kambodscha cambodge cambogia camboya
KI KIR 296 686 0 kiribati
KM COM 174 269 - comoros komoren comores comore comoras
KN KNA 659 1 1 stkittsnevis stkittsundnevis saintchristopheetnieves saintkittsenevis sancristobalynieves
KP PRK 408 850 0 northkorea nordkorea coreedunord coreadelnord coreadelnorte koreademocraticpeoplesrepublicof
KR KOR 410 82 0 southkorea sudkorea coreedusud coreadelsud coreadelsur korearepublicof republicofkorea
KW KWT 414 965 - kuwait koweit
KY CYM 136 1 1 caymanislands kaimaninseln ilescaimans isolecayman islascaiman
KZ KAZ 398 7 8 kazakhstan kasachstan kazakistan kazajistan
LA LAO 418 856 0 laos laopeoplesdemocraticrepublic
LB LBN 422 961 0 lebanon libanon liban libano
LC LCA 662 1 1 stlucia saintelucie saintlucia santalucia
LI LIE 438 423 0 liechtenstein
LK LKA 144 94 0 srilanka
LR LBR 430 231 0 liberia
LS LSO 426 266 - lesotho lesoto
LT LTU 440 370 0 lithuania litauen lituanie lituania
LU LUX 442 352 - luxembourg luxemburg lussemburgo luxemburgo
LV LVA 428 371 - latvia lettland lettonie lettonia letonia
LY LBY 434 218 0 libya libyen libye libia
MA MAR 504 212 0 morocco marokko maroc marocco marruecos
MC MCO 492 377 0 monaco
MD MDA 498 373 0 moldova republikmoldau moldavie moldavia moldovarepublicof
ME MNE 499 382 0 montenegro
MF MAF 663 590 0 stmartin saintmartin sanmartin
MG MDG 450 261 0 madagascar madagaskar
MH MHL 584 692 1 marshallislands marshallinseln ilesmarshall isolemarshall islasmarshall
MK MKD 807 389 0 northmacedonia nordmazedonien macedoinedunord macedoniadelnord macedoniadelnorte macedonia
ML MLI 466 223 - mali
MM MMR 104 95 0 myanmarburma myanmar myanmarbirmanie myanmarbirmania burma
MN MNG 496 976 0 mongolia mongolei mongolie
MO MAC 446 853 - macaosarchina sonderverwaltungsregionmacau raschinoisedemacao rasdimacao raedemacaochina macao
    macau
MP MNP 580 1 1 northernmarianaislands nordlichemarianen ilesmariannesdunord isolemariannesettentrionali
    islasmarianasdelnorte
MQ MTQ 474 596 0 martinique martinica
MR MRT 478 222 - mauritania mauretanien mauritanie
MS MSR 500 1 1 montserrat
MT MLT 470 356 - malta malte
MU MUS 480 230 - mauritius maurice mauricio
MV MDV 462 960 - maldives malediven maldive maldivas
MW MWI 454 265 0 malawi malaui
MX MEX 484 52 - mexico mexiko mexique messico
MY MYS 458 60 0 malaysia malaisie malasia
MZ MOZ 508 258 - mozambique mosambik mozambico
NA NAM 516 264 0 namibia namibie
NC NCL 540 687 - newcaledonia neukaledonien nouvellecaledonie nuovacaledonia nuevacaledonia
NE NER 562 227 - niger
NF NFK 574 672 - norfolkisland norfolkinsel ilenorfolk isolanorfolk islanorfolk
NG NGA 566 234 0 nigeria
NI NIC 558 505 - nicaragua
NL NLD 528 31 0 netherlands niederlande paysbas paesibassi paisesbajos holland thenetherlands
    konigreichderniederlande
NO NOR 578 47 - norway norwegen norvege norvegia noruega
NP NPL 524 977 0 nepal
NR NRU 520 674 - nauru
NU NIU 570 683 - niue
NZ NZL 554 64 0 newzealand neuseeland nouvellezelande nuovazelanda nuevazelanda
OM OMN 512 968 - oman
PA PAN 591 507 - panama
PE PER 604 51 0 peru perou
PF PYF 258 689 - frenchpolynesia franzosischpolynesien polynesiefrancaise polinesiafrancese polinesiafrancesa
PG PNG 598 675 - papuanewguinea papuaneuguinea papouasienouvelleguinee papuanuovaguinea papuanuevaguinea
PH PHL 608 63 0 philippines philippinen filippine filipinas
PK PAK 586 92 0 pakistan
PL POL 616 48 - poland polen pologne polonia
PM SPM 666 508 0 stpierremiquelon stpierreundmiquelon saintpierreetmiquelon saintpierreemiquelon
    sanpedroymiquelon
PN PCN 612 - - pitcairnislands pitcairninseln ilespitcairn isolepitcairn islaspitcairn
PR PRI 630 1 1 puertorico portorico
PS PSE 275 970 0 palestinianterritories palastinensischeautonomiegebiete territoirespalestiniens
    territoripalestinesi territoriospalestinos palestine
PT PRT 620 351 - portugal portogallo
PW PLW 585 680 - palau palaos
PY PRY 600 595 0 paraguay
QA QAT 634 974 - qatar katar catar
RE REU 638 262 0 reunion lareunion riunione
RO ROU 642 40 0 romania rumanien roumanie rumania
RS SRB 688 381 0 serbia serbien serbie
RU RUS 643 7 8 russia russland russie rusia russianfederation
RW RWA 646 250 0 rwanda ruanda
SA SAU 682 966 0 saudiarabia saudiarabien arabiesaoudite arabiasaudita arabiasaudi
SB SLB 090 677 - solomonislands salomonen ilessalomon isolesalomone islassalomon
SC SYC 690 248 - seychelles seychellen
SD SDN 729 249 0 sudan soudan
SE SWE 752 46 0 sweden schweden suede svezia suecia
SG SGP 702 65 - singapore singapur singapour
SH SHN 654 290 - sthelena saintehelene santelena santaelena
SI SVN 705 386 0 slovenia slowenien slovenie eslovenia
SJ SJM 744 47 - svalbardjanmayen spitzbergenundjanmayen svalbardetjanmayen svalbardejanmayen svalbardyjanmayen
SK SVK 703 421 0 slovakia slowakei slovaquie slovacchia eslovaquia
SL SLE 694 232 0 sierraleone sierraleona
SM SMR 674 378 - sanmarino saintmarin
SN SEN 686 221 - senegal
SO SOM 706 252 0 somalia somalie
SR SUR 740 597 - suriname surinam
SS SSD 728 211 0 southsudan sudsudan soudandusud sudandelsur
ST STP 678 239 - saotomeprincipe saotomeundprincipe saotomeetprincipe saotomeeprincipe santotomeyprincipe
SV SLV 222 503 - elsalvador salvador
SX SXM 534 1 1 sintmaarten saintmartinpartieneerlandaise
SY SYR 760 963 0 syria syrien syrie siria syrianarabrepublic
SZ SWZ 748 268 - eswatini esuatini swaziland
TC TCA 796 1 1 turkscaicosislands turksundcaicosinseln ilesturquesetcaiques isoleturksecaicos islasturcasycaicos
TD TCD 148 235 - chad tschad tchad ciad
TF ATF 260 - - frenchsouthernterritories franzosischesudundantarktisgebiete terresaustralesfrancaises
    terreaustralifrancesi territoriosaustralesfranceses
TG TGO 768 228 - togo
TH THA 764 66 0 thailand thailande thailandia tailandia
TJ TJK 762 992 - tajikistan tadschikistan tadjikistan tagikistan tayikistan
TK TKL 772 690 - tokelau
TL TLS 626 670 - timorleste timororiental timorest easttimor
TM TKM 795 993 8 turkmenistan
TN TUN 788 216 - tunisia tunesien tunisie tunez
TO TON 776 676 - tonga
TR TUR 792 90 0 turkiye turkei turquie turchia turquia turkey
TT TTO 780 1 1 trinidadtobago trinidadundtobago triniteettobago trinidadetobago trinidadytobago
TV TUV 798 688 - tuvalu
TW TWN 158 886 0 taiwan taiwanprovinceofchina
TZ TZA 834 255 0 tanzania tansania tanzanie tanzaniaunitedrepublicof
UA UKR 804 380 0 ukraine ucraina ucrania
UG UGA 800 256 0 uganda ouganda
UM UMI 581 - - usoutlyingislands amerikanischeuberseeinseln ilesmineureseloigneesdesetatsunis
    isoleminoriesternedeglistatiuniti islasmenoresalejadasdeeeuu
US USA 840 1 1 unitedstates vereinigtestaaten etatsunis statiuniti estadosunidos unitedstatesofamerica
    vereinigtestaatenvonamerika etatsunisdamerique america
UY URY 858 598 0 uruguay
UZ UZB 860 998 - uzbekistan usbekistan ouzbekistan
VA VAT 336 39 - vaticancity vatikanstadt etatdelaciteduvatican cittadelvaticano ciudaddelvaticano holysee
VC VCT 670 1 1 stvincentgrenadines stvincentunddiegrenadinen saintvincentetlesgrenadines saintvincentegrenadine
    sanvicenteylasgranadinas
VE VEN 862 58 0 venezuela venezuelabolivarianrepublicof
VG VGB 092 1 1 britishvirginislands britischejungferninseln ilesviergesbritanniques isoleverginibritanniche
    islasvirgenesbritanicas
VI VIR 850 1 1 usvirginislands amerikanischejungferninseln ilesviergesdesetatsunis isoleverginiamericane
    islasvirgenesdeeeuu
VN VNM 704 84 0 vietnam
VU VUT 548 678 - vanuatu
WF WLF 876 681 - wallisfutuna wallisundfutuna wallisetfutuna wallisefutuna wallisyfutuna
WS WSM 882 685 - samoa
XK XKX - 383 0 kosovo
YE YEM 887 967 0 yemen jemen
YT MYT 175 262 0 mayotte
ZA ZAF 710 27 0 southafrica sudafrika afriquedusud sudafrica
ZM ZMB 894 260 0 zambia sambia zambie
ZW ZWE 716 263 0 zimbabwe simbabwe zimbabue
"""
"""Each territory's codes and names; a line that begins with blanks goes on with the one before."""

CURRENCIES = """
AED AFN ALL AMD AOA ARS AWG BAM BBD BGN BHD BIF BMD BND BOB BSD BTN BWP BYN BZD CDF CLF CLP COP CUP CVE DJF DKK DOP DZD
EGP ERN ETB FJD FKP GIP GMD GNF GTQ GYD HNL HTG IDR IQD IRR ISK JMD JOD KES KGS KMF KPW KWD KYD LAK LBP LKR LRD LSL
LYD MAD MDL MGA MKD MMK MOP MRU MUR MVR MWK MYR MZN NAD NIO NOK NPR OMR PAB PEN PGK PKR QAR RON RSD RWF SAR SBD SCR
SDG SEK SHP SLE SOS SRD SSP STN SYP SZL TJS TMT TND TOP TTD TZS UGX UYU UZS VES VUV WST XAF XCD XCG XDR XOF XPF YER
ZAR ZMW ZWG
"""
"""Codes of currencies that are legal tender, and that have no sign of their own here."""

SIGNS = """
AUD AU$ A$
AZN ₼
BDT ৳
BRL R$
CAD CA$ C$
CHF FR SFR FRANKEN
CNY CN¥ RMB
CRC ₡
CZK KČ
EUR € EURO EUROS
GBP £
GEL ₾
GHS ₵
HKD HK$
HUF FT
ILS ₪
INR ₹
JPY JP¥
KHR ៛
KRW ₩
KZT ₸
MNT ₮
MXN MX$
NGN ₦
NZD NZ$
PHP ₱
PLN ZŁ
PYG ₲
RUB ₽
SGD S$ SG$
THB ฿
TRY ₺
TWD NT$
UAH ₴
USD US$ USDOLLAR DOLLAR(US)
VND ₫
"""
"""Codes of currencies with their unambiguous signs and names; `$`, `kr` and `¥` are those of several."""


@functools.cache
def territories() -> tuple[tuple[str, ...], ...]:
    """Return each territory's fields: alpha-2, alpha-3, number, calling code, national prefix, names …; `` for none."""
    lines = TERRITORIES.strip().replace("\n    ", " ").splitlines()
    return tuple(tuple("" if field == "-" else field for field in line.split()) for line in lines)


@functools.cache
def countries() -> str:
    """Return the text in which a country's code is found behind ``;key=``."""
    codes = [(key.lower(), row[0]) for row in territories() for key in row[:3] if key]
    pairs = [
        *codes,
        *((key, row[0]) for row in territories() for key in row[5:]),
    ]  # what is looked for most comes first
    return "".join(f";{key}={code}" for key, code in pairs) + ";"


@functools.cache
def currencies() -> str:
    """Return the text in which a currency's code is found behind ``;KEY=``."""
    pairs = [(code, code) for code in CURRENCIES.split()]
    for line in SIGNS.strip().splitlines():
        code, *signs = line.split()
        pairs += [(key, code) for key in (code, *signs)]
    return "".join(f";{key}={code}" for key, code in pairs) + ";"


@functools.cache
def calling() -> dict[str, tuple[str, str]]:
    """Return the calling code and the national prefix of each territory that has one."""
    return {row[0]: (row[3], row[4]) for row in territories() if row[3]}
