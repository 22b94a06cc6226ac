package geo

// countryTable lists ISO 3166-1 (249 codes, state of 2026-11) and XK: code, continent, latitude and
// longitude to a tenth of a degree. The point is the capital or the city where most of the traffic
// is exchanged (the middle of the population for the United States); the continent is the one
// whose cables the country hangs on, so Turkey and Cyprus count as European. Neither decides
// anything but a first guess of distance.
const countryTable = `
AD EU 42.5 1.5     AE AS 25.2 55.3    AF AS 34.5 69.2    AG NA 17.1 -61.8   AI NA 18.2 -63.1
AL EU 41.3 19.8    AM AS 40.2 44.5    AO AF -8.8 13.2    AQ AN -77.8 166.7  AR SA -34.6 -58.4
AS OC -14.3 -170.7 AT EU 48.2 16.4    AU OC -33.9 151.2  AW NA 12.5 -70.0   AX EU 60.1 19.9
AZ AS 40.4 49.9    BA EU 43.9 18.4    BB NA 13.1 -59.6   BD AS 23.8 90.4    BE EU 50.8 4.4
BF AF 12.4 -1.5    BG EU 42.7 23.3    BH AS 26.2 50.6    BI AF -3.4 29.4    BJ AF 6.4 2.4
BL NA 17.9 -62.8   BM NA 32.3 -64.8   BN AS 4.9 114.9    BO SA -16.5 -68.1  BQ NA 12.2 -68.3
BR SA -23.5 -46.6  BS NA 25.1 -77.3   BT AS 27.5 89.6    BV AN -54.4 3.4    BW AF -24.7 25.9
BY EU 53.9 27.6    BZ NA 17.5 -88.2   CA NA 43.7 -79.4   CC AS -12.2 96.8   CD AF -4.3 15.3
CF AF 4.4 18.6     CG AF -4.3 15.3    CH EU 47.4 8.5     CI AF 5.3 -4.0     CK OC -21.2 -159.8
CL SA -33.4 -70.7  CM AF 4.0 9.7      CN AS 31.2 121.5   CO SA 4.7 -74.1    CR NA 9.9 -84.1
CU NA 23.1 -82.4   CV AF 14.9 -23.5   CW NA 12.1 -68.9   CX AS -10.4 105.7  CY EU 35.2 33.4
CZ EU 50.1 14.4    DE EU 50.1 8.7     DJ AF 11.6 43.1    DK EU 55.7 12.6    DM NA 15.3 -61.4
DO NA 18.5 -69.9   DZ AF 36.8 3.1     EC SA -0.2 -78.5   EE EU 59.4 24.8    EG AF 30.0 31.2
EH AF 27.2 -13.2   ER AF 15.3 38.9    ES EU 40.4 -3.7    ET AF 9.0 38.7     FI EU 60.2 24.9
FJ OC -18.1 178.4  FK SA -51.7 -57.9  FM OC 6.9 158.2    FO EU 62.0 -6.8    FR EU 48.9 2.4
GA AF 0.4 9.5      GB EU 51.5 -0.1    GD NA 12.1 -61.7   GE AS 41.7 44.8    GF SA 4.9 -52.3
GG EU 49.5 -2.5    GH AF 5.6 -0.2     GI EU 36.1 -5.4    GL NA 64.2 -51.7   GM AF 13.5 -16.6
GN AF 9.5 -13.7    GP NA 16.2 -61.5   GQ AF 3.8 8.8      GR EU 38.0 23.7    GS AN -54.3 -36.5
GT NA 14.6 -90.5   GU OC 13.5 144.8   GW AF 11.9 -15.6   GY SA 6.8 -58.2    HK AS 22.3 114.2
HM AN -53.1 73.5   HN NA 14.1 -87.2   HR EU 45.8 16.0    HT NA 18.5 -72.3   HU EU 47.5 19.0
ID AS -6.2 106.8   IE EU 53.3 -6.3    IL AS 32.1 34.8    IM EU 54.2 -4.5    IN AS 19.1 72.9
IO AS -7.3 72.4    IQ AS 33.3 44.4    IR AS 35.7 51.4    IS EU 64.1 -21.9   IT EU 45.5 9.2
JE EU 49.2 -2.1    JM NA 18.0 -76.8   JO AS 31.9 35.9    JP AS 35.7 139.7   KE AF -1.3 36.8
KG AS 42.9 74.6    KH AS 11.6 104.9   KI OC 1.3 173.0    KM AF -11.7 43.3   KN NA 17.3 -62.7
KP AS 39.0 125.8   KR AS 37.6 127.0   KW AS 29.4 48.0    KY NA 19.3 -81.4   KZ AS 43.2 76.9
LA AS 18.0 102.6   LB AS 33.9 35.5    LC NA 14.0 -61.0   LI EU 47.1 9.5     LK AS 6.9 79.9
LR AF 6.3 -10.8    LS AF -29.3 27.5   LT EU 54.7 25.3    LU EU 49.6 6.1     LV EU 56.9 24.1
LY AF 32.9 13.2    MA AF 33.6 -7.6    MC EU 43.7 7.4     MD EU 47.0 28.8    ME EU 42.4 19.3
MF NA 18.1 -63.1   MG AF -18.9 47.5   MH OC 7.1 171.4    MK EU 42.0 21.4    ML AF 12.6 -8.0
MM AS 16.8 96.2    MN AS 47.9 106.9   MO AS 22.2 113.5   MP OC 15.2 145.7   MQ NA 14.6 -61.1
MR AF 18.1 -16.0   MS NA 16.7 -62.2   MT EU 35.9 14.5    MU AF -20.2 57.5   MV AS 4.2 73.5
MW AF -14.0 33.8   MX NA 19.4 -99.1   MY AS 3.1 101.7    MZ AF -26.0 32.6   NA AF -22.6 17.1
NC OC -22.3 166.5  NE AF 13.5 2.1     NF OC -29.1 168.0  NG AF 6.5 3.4      NI NA 12.1 -86.3
NL EU 52.4 4.9     NO EU 59.9 10.8    NP AS 27.7 85.3    NR OC -0.5 166.9   NU OC -19.1 -169.9
NZ OC -36.8 174.8  OM AS 23.6 58.4    PA NA 9.0 -79.5    PE SA -12.0 -77.0  PF OC -17.5 -149.6
PG OC -9.4 147.2   PH AS 14.6 121.0   PK AS 24.9 67.0    PL EU 52.2 21.0    PM NA 46.8 -56.2
PN OC -25.1 -130.1 PR NA 18.5 -66.1   PS AS 31.9 35.2    PT EU 38.7 -9.1    PW OC 7.3 134.5
PY SA -25.3 -57.6  QA AS 25.3 51.5    RE AF -20.9 55.5   RO EU 44.4 26.1    RS EU 44.8 20.5
RU EU 55.8 37.6    RW AF -1.9 30.1    SA AS 24.7 46.7    SB OC -9.4 160.0   SC AF -4.6 55.5
SD AF 15.6 32.5    SE EU 59.3 18.1    SG AS 1.3 103.8    SH AF -15.9 -5.7   SI EU 46.1 14.5
SJ EU 78.2 15.6    SK EU 48.1 17.1    SL AF 8.5 -13.2    SM EU 43.9 12.4    SN AF 14.7 -17.4
SO AF 2.0 45.3     SR SA 5.9 -55.2    SS AF 4.9 31.6     ST AF 0.3 6.7      SV NA 13.7 -89.2
SX NA 18.0 -63.1   SY AS 33.5 36.3    SZ AF -26.3 31.1   TC NA 21.5 -71.1   TD AF 12.1 15.0
TF AN -49.4 70.2   TG AF 6.1 1.2      TH AS 13.8 100.5   TJ AS 38.6 68.8    TK OC -9.2 -171.8
TL AS -8.6 125.6   TM AS 38.0 58.4    TN AF 36.8 10.2    TO OC -21.1 -175.2 TR EU 41.0 29.0
TT NA 10.7 -61.5   TV OC -8.5 179.2   TW AS 25.0 121.6   TZ AF -6.8 39.3    UA EU 50.5 30.5
UG AF 0.3 32.6     UM OC 19.3 166.6   US NA 37.5 -92.2   UY SA -34.9 -56.2  UZ AS 41.3 69.2
VA EU 41.9 12.5    VC NA 13.2 -61.2   VE SA 10.5 -66.9   VG NA 18.4 -64.6   VI NA 18.3 -64.9
VN AS 21.0 105.8   VU OC -17.7 168.3  WF OC -13.3 -176.2 WS OC -13.8 -171.8 XK EU 42.7 21.2
YE AS 15.4 44.2    YT AF -12.8 45.2   ZA AF -26.2 28.0   ZM AF -15.4 28.3   ZW AF -17.8 31.0
`

// Jurisdictions, reviewed 2026-11-22 against europa.eu/european-union (member states since Croatia
// joined on 2013-07-01 and the United Kingdom left on 2020-01-31) and efta.int/eea. Parts of member
// states that have country codes of their own belong to the Union where the treaties apply to them
// in full: Åland (AX) and the French outermost regions (TFEU art. 355(1)). GB, CH and Svalbard (SJ)
// belong to neither.
const (
	euTable = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK" +
		" AX GF GP MF MQ RE YT"
	eeaTable = euTable + " IS LI NO"
)
