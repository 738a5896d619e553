"""Invented people and real towns: the material of the generated transactions."""

from __future__ import annotations

__all__ = ["CATEGORIES", "FIRST_NAMES", "JOBS", "LAST_NAMES", "STREET_KINDS", "TOWNS"]


def _split(names: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in names.split(";"))


# Town, state, zip code, latitude, longitude, inhabitants.
TOWNS: tuple[tuple[str, str, str, float, float, int], ...] = (
    ("Albany", "NY", "12207", 42.6580, -73.7474, 99224),
    ("Albuquerque", "NM", "87102", 35.0818, -106.6482, 564559),
    ("Anchorage", "AK", "99501", 61.2116, -149.8761, 291247),
    ("Asheville", "NC", "28801", 35.5973, -82.5568, 94589),
    ("Athens", "GA", "30601", 33.9761, -83.3632, 127315),
    ("Atlanta", "GA", "30303", 33.7525, -84.3888, 498715),
    ("Austin", "TX", "78701", 30.2713, -97.7426, 961855),
    ("Bangor", "ME", "04401", 44.8315, -68.7914, 31753),
    ("Baton Rouge", "LA", "70801", 30.4505, -91.1862, 227470),
    ("Bend", "OR", "97701", 44.0879, -121.2785, 99178),
    ("Billings", "MT", "59101", 45.7740, -108.5005, 117116),
    ("Birmingham", "AL", "35203", 33.5211, -86.8104, 200733),
    ("Boise", "ID", "83702", 43.6322, -116.2052, 235684),
    ("Boston", "MA", "02108", 42.3576, -71.0684, 675647),
    ("Brattleboro", "VT", "05301", 42.8670, -72.5850, 12184),
    ("Buffalo", "NY", "14202", 42.8871, -78.8779, 278349),
    ("Burlington", "VT", "05401", 44.4840, -73.2204, 44743),
    ("Casper", "WY", "82601", 42.8447, -106.3197, 59038),
    ("Charleston", "WV", "25301", 38.3495, -81.6326, 48864),
    ("Chicago", "IL", "60602", 41.8831, -87.6291, 2746388),
    ("Cincinnati", "OH", "45202", 39.1072, -84.5019, 309317),
    ("Columbia", "SC", "29201", 33.9973, -81.0313, 136632),
    ("Concord", "NH", "03301", 43.2189, -71.5131, 43976),
    ("Denver", "CO", "80202", 39.7491, -104.9946, 715522),
    ("Des Moines", "IA", "50309", 41.5872, -93.6263, 214133),
    ("Detroit", "MI", "48226", 42.3334, -83.0484, 639111),
    ("Dover", "DE", "19901", 39.1564, -75.4955, 39403),
    ("Duluth", "MN", "55802", 46.7732, -92.0917, 86697),
    ("El Paso", "TX", "79901", 31.7601, -106.4797, 678815),
    ("Fargo", "ND", "58102", 46.9011, -96.8003, 125990),
    ("Flagstaff", "AZ", "86001", 35.2230, -111.6628, 76831),
    ("Fresno", "CA", "93721", 36.7377, -119.7843, 542107),
    ("Gary", "IN", "46402", 41.6012, -87.3372, 69093),
    ("Grand Rapids", "MI", "49503", 42.9659, -85.6527, 198917),
    ("Green Bay", "WI", "54301", 44.4855, -88.0166, 107395),
    ("Hartford", "CT", "06103", 41.7669, -72.6733, 121054),
    ("Honolulu", "HI", "96813", 21.3179, -157.8521, 350964),
    ("Houston", "TX", "77002", 29.7560, -95.3653, 2304580),
    ("Jackson", "MS", "39201", 32.2935, -90.1867, 153701),
    ("Kansas City", "MO", "64106", 39.1054, -94.5708, 508090),
    ("Knoxville", "TN", "37902", 35.9621, -83.9200, 190740),
    ("Las Vegas", "NV", "89101", 36.1721, -115.1224, 641903),
    ("Lexington", "KY", "40507", 38.0460, -84.4970, 322570),
    ("Lincoln", "NE", "68508", 40.8145, -96.7005, 291082),
    ("Little Rock", "AR", "72201", 34.7483, -92.2819, 202591),
    ("Los Angeles", "CA", "90012", 34.0614, -118.2385, 3898747),
    ("Madison", "WI", "53703", 43.0774, -89.3766, 269840),
    ("Memphis", "TN", "38103", 35.1440, -90.0480, 633104),
    ("Miami", "FL", "33131", 25.7629, -80.1895, 442241),
    ("Minot", "ND", "58701", 48.2296, -101.2983, 48377),
    ("New Orleans", "LA", "70112", 29.9566, -90.0773, 383997),
    ("New York", "NY", "10007", 40.7139, -74.0070, 8804190),
    ("Newark", "NJ", "07102", 40.7355, -74.1741, 311549),
    ("Norfolk", "VA", "23510", 36.8516, -76.2908, 238005),
    ("Oklahoma City", "OK", "73102", 35.4704, -97.5195, 681054),
    ("Omaha", "NE", "68102", 41.2590, -95.9340, 486051),
    ("Orlando", "FL", "32801", 28.5420, -81.3720, 307573),
    ("Paducah", "KY", "42001", 37.0726, -88.6404, 27137),
    ("Philadelphia", "PA", "19103", 39.9513, -75.1741, 1603797),
    ("Phoenix", "AZ", "85003", 33.4511, -112.0777, 1608139),
    ("Pierre", "SD", "57501", 44.3793, -100.3228, 14091),
    ("Pittsburgh", "PA", "15222", 40.4477, -79.9933, 302971),
    ("Portland", "OR", "97204", 45.5184, -122.6739, 652503),
    ("Presque Isle", "ME", "04769", 46.6808, -68.0159, 8797),
    ("Providence", "RI", "02903", 41.8186, -71.4096, 190934),
    ("Rapid City", "SD", "57701", 44.0787, -103.1892, 74703),
    ("Richmond", "VA", "23219", 37.5407, -77.4360, 226610),
    ("Sacramento", "CA", "95814", 38.5804, -121.4922, 524943),
    ("Salt Lake City", "UT", "84101", 40.7559, -111.8967, 199723),
    ("San Diego", "CA", "92101", 32.7185, -117.1593, 1386932),
    ("San Francisco", "CA", "94103", 37.7726, -122.4099, 873965),
    ("Santa Fe", "NM", "87501", 35.7027, -105.9749, 87505),
    ("Savannah", "GA", "31401", 32.0751, -81.0885, 147780),
    ("Seattle", "WA", "98101", 47.6114, -122.3305, 737015),
    ("Spokane", "WA", "99201", 47.6664, -117.4365, 228989),
    ("Springfield", "IL", "62701", 39.8000, -89.6495, 114394),
    ("Tallahassee", "FL", "32301", 30.4286, -84.2593, 196169),
    ("Topeka", "KS", "66603", 39.0553, -95.6802, 126587),
    ("Tucson", "AZ", "85701", 32.2139, -110.9694, 542629),
    ("Tulsa", "OK", "74103", 36.1565, -95.9942, 413066),
    ("Washington", "DC", "20001", 38.9122, -77.0177, 689545),
    ("Wichita", "KS", "67202", 37.6899, -97.3355, 397532),
)

FIRST_NAMES: dict[str, tuple[str, ...]] = {
    "F": _split(
        """
        Alice; Amanda; Amy; Andrea; Angela; Ashley; Barbara; Brenda; Carol; Christine; Claire;
        Cynthia; Dana; Deborah; Diane; Elena; Emily; Erin; Grace; Hannah; Heather; Irene; Jessica;
        Joan; Judith; Karen; Kelly; Laura; Linda; Lisa; Margaret; Maria; Megan; Melissa; Monica;
        Nancy; Nicole; Olivia; Pamela; Rachel; Rebecca; Ruth; Samantha; Sarah; Sharon; Stephanie;
        Susan; Tammy; Theresa; Victoria
        """
    ),
    "M": _split(
        """
        Aaron; Adam; Alan; Andrew; Anthony; Benjamin; Brian; Carl; Charles; Christopher; Daniel;
        David; Dennis; Douglas; Edward; Eric; Frank; Gary; George; Gregory; Henry; Jack; James; Jason;
        Jeffrey; John; Jose; Joseph; Joshua; Justin; Keith; Kenneth; Kevin; Larry; Mark; Matthew;
        Michael; Nathan; Nicholas; Patrick; Paul; Peter; Raymond; Richard; Robert; Ryan; Samuel;
        Scott; Thomas; William
        """
    ),
}

LAST_NAMES: tuple[str, ...] = _split(
    """
    Abbott; Adams; Bailey; Baker; Barnes; Bauer; Becker; Bell; Bennett; Boyle; Brooks; Brown; Butler;
    Campbell; Carter; Clark; Collins; Conroy; Cooper; Cruz; Daugherty; Davis; Diaz; Doyle; Edwards;
    Evans; Fadel; Fisher; Flores; Foster; Garcia; Gomez; Gray; Green; Hall; Hansen; Harris; Hayes;
    Heller; Hill; Howard; Hughes; Jackson; Jenkins; Johnson; Jones; Keeling; Kelly; Kerluke; King;
    Koch; Kuhn; Lang; Lewis; Lind; Long; Lopez; Marks; Martin; Mayer; Miller; Mitchell; Moore; Morgan;
    Morris; Murphy; Myers; Nelson; Nolan; Ortiz; Parker; Perez; Perry; Peterson; Price; Reed; Reilly;
    Reyes; Rivera; Roberts; Robinson; Rogers; Ross; Ruiz; Russell; Sanders; Schmidt; Scott; Smith;
    Stewart; Sullivan; Taylor; Thomas; Torres; Turner; Walker; Ward; Watson; White; Wilson; Wood;
    Wright; Young
    """
)

STREET_KINDS: tuple[str, ...] = _split(
    """
    Avenue; Bridge; Court; Crossing; Drive; Fields; Forest; Gardens; Heights; Hill; Lane; Meadows;
    Mill; Park; Pass; Plaza; Ridge; Road; Square; Street; Terrace; Trail; Valley
    """
)

JOBS: tuple[str, ...] = _split(
    """
    Accountant, chartered; Architect; Audiological scientist; Barista; Broadcast engineer; Cabin crew;
    Chef; Chemical engineer; Civil engineer; Clinical psychologist; Community pharmacist; Copywriter,
    advertising; Counselling psychologist; Dealer; Dentist; Ecologist; Economist; Electrical engineer;
    Environmental consultant; Exhibition designer; Farm manager; Film editor; Financial adviser;
    Fitness centre manager; Forest ranger; Geoscientist; Health visitor; Hydrologist; Insurance
    broker; Interior designer; Journalist, newspaper; Land surveyor; Librarian, academic; Magazine
    editor; Mechanical engineer; Museum curator; Musician; Naval architect; Nurse, mental health;
    Occupational therapist; Optometrist; Paramedic; Photographer; Physiotherapist; Pilot, airline;
    Podiatrist; Police officer; Programmer, applications; Psychotherapist; Quantity surveyor; Set
    designer; Social worker; Solicitor; Sub; Surgeon; Systems developer; Teacher, primary school;
    Therapist, art; Tour manager; Trading standards officer; Translator; Veterinary surgeon;
    Warden/ranger; Water engineer; Web designer; Writer
    """
)

# Category: its share of the purchases, and the mean and the spread of the logarithm of their amounts. Those that end in
# `_net` are bought online. The shape follows the public Sparkov data set.
CATEGORIES: dict[str, tuple[float, float, float]] = {
    "entertainment": (0.073, 3.70, 0.70),
    "food_dining": (0.071, 3.50, 0.65),
    "gas_transport": (0.101, 4.10, 0.25),
    "grocery_net": (0.035, 3.90, 0.45),
    "grocery_pos": (0.095, 4.60, 0.45),
    "health_fitness": (0.066, 3.60, 0.70),
    "home": (0.095, 3.75, 0.75),
    "kids_pets": (0.087, 3.70, 0.70),
    "misc_net": (0.049, 3.00, 1.00),
    "misc_pos": (0.062, 2.90, 0.95),
    "personal_care": (0.070, 3.40, 0.75),
    "shopping_net": (0.075, 3.30, 1.00),
    "shopping_pos": (0.090, 3.20, 1.00),
    "travel": (0.031, 4.40, 1.00),
}
