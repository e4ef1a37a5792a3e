"""Which language a word is in: by its script, and within the Latin script by small lists of function words.

A list holds words that texts of its language cannot do without and that traces use to connect steps. Content words need
no list: they take the language of the function words around them. Numbers, code, tags, formulas, single letters and
abbreviations carry no language.
"""

import re
from collections import Counter
from functools import lru_cache

_LISTS = {
    "en": """the and of to is are be been has have had with for from this that these those it its he she they them his
        her their there then so now first second third next last finally because therefore thus hence but or not no
        yes if when which who what how many much each every all some any more less than as at by on in into out up
        down after before again only also we you your our us my me do does did can could will would shall should must
        may let lets get gets got make makes gives give given left take takes add adds adding subtract double doubles
        triple halve half twice times minus plus equals equal total answer number numbers step wait check just well
        same other both two three four five six seven eight nine ten through off over under about between while since
        where why one""",
    "de": """der die das den dem des ein eine einen einem einer eines und oder aber nicht kein keine ist sind war
        waren hat haben hatte wird werden wurde ich du er sie es wir ihr sich mit von zu zum zur bei aus nach für auf
        über unter vor im am dass weil wenn dann also zuerst erstens zweitens drittens zunächst danach jetzt nun
        schließlich endlich deshalb daher daraus folgt macht machen ergibt ergeben gibt geben bleibt bleiben noch auch
        nur schon mehr weniger als wie viele viel wieviel jede jeder jedes alle diese dieser dieses damit davon dazu
        durch ohne um bis hier dort somit insgesamt zusammen addiere subtrahiere verdopple mal minus gleich rechnen
        wir antwort zahl zwei drei vier fünf sechs sieben acht neun zehn beim einfach warte prüfen""",
    "fr": """le la les un une des du de et ou mais ne pas est sont était a ont avait sera je tu il elle nous vous ils
        elles se avec pour par sur sous dans en au aux ce cette ces cet qui que quoi dont où donc alors ensuite puis
        enfin maintenant abord parce car si quand comme plus moins très tout tous toute toutes chaque encore aussi
        seulement fait font donne reste restent cela ça ceci combien après avant ainsi être avoir faire ajoute ajouter
        soustrait obtient égale fois réponse nombre deux trois quatre cinq sept huit neuf dix leur leurs son sa ses
        nôtre voici""",
    "es": """el la los las un una unos unas de del y o pero no es son era está están ha han había hay que quien cual
        donde cuando como con por para sin sobre entre desde hasta al en se lo le les su sus este esta estos estas ese
        esa eso esto yo tú él ella nosotros ellos ellas entonces luego después primero ahora finalmente porque si más
        menos muy todo todos toda todas cada también solo sólo ya da dan hace hacen queda quedan cuántos cuántas tiene
        tienen así ser sumar restar sumamos restamos obtenemos igual veces respuesta número dos tres cuatro cinco seis
        siete ocho nueve diez tanto""",
    "it": """il lo la gli le un uno una di del della dei delle dello da dal in nel nella con su per tra fra e o ma non
        è sono era ha hanno aveva che chi cui dove quando come perché se più meno molto tutto tutti tutta tutte ogni
        anche solo già io tu lui lei noi voi loro questo questa questi queste quello quella quindi allora poi prima
        adesso ora infine dunque dopo ancora fa fanno rimangono restano quanti quante essere avere fare aggiungi
        aggiungere otteniamo uguale volte risposta numero due tre quattro cinque sei sette otto nove dieci così""",
    "pt": """o os um uma uns umas de do da dos das e ou mas não é são era está estão tem têm tinha há que quem qual
        onde quando como com por para sem sobre entre desde até ao aos à em no na nos nas se lhe seu sua seus suas
        este esta estes estas esse essa isso isto eu você ele ela nós eles elas então depois primeiro agora finalmente
        porque mais menos muito tudo todos todas cada também só já dá faz fazem fica ficam restam quantos quantas ser
        ter assim pois somar subtrair obtemos igual vezes resposta número dois três quatro cinco sete oito nove dez""",
    "nl": """de het een en of maar niet geen is zijn was waren heeft hebben had wordt worden ik jij hij zij wij jullie
        ze zich met van voor door bij uit naar op over onder om aan dat die deze dit omdat als wanneer dan dus eerst
        daarna nu eindelijk tenslotte daarom nog ook alleen al meer minder hoeveel elke elk alle waar wat wie hoe er
        hier daar geeft maakt blijft blijven over samen antwoord getal twee drie vier vijf zes zeven acht negen tien
        keer""",
    "sv": """och att det som en ett är på för med av den till inte har hade om var han hon vi ni de sig från men eller
        så när nu sedan först därför alltså bara också mer mindre hur många varje alla detta denna dessa blir ger gör
        kvar efter innan här där svaret två tre fyra fem sju åtta nio tio""",
    "pl": """i w z na do nie to się jest są był była było że jak ale lub albo gdy kiedy więc potem najpierw teraz
        wtedy zatem dlatego już tylko także też więcej mniej ile każdy każda wszystkie ten ta te tego tej ma mają dla
        od po przez przed oraz daje zostaje odpowiedź liczba dwa trzy cztery pięć sześć siedem osiem
        dziewięć dziesięć""",
    "tr": """ve bir bu şu ile için de da ki değil var yok ne nasıl kaç tane önce sonra şimdi daha çok az her hepsi ama
        veya çünkü eğer gibi olarak olur eder kalır kaldı toplam cevap sayı iki üç dört beş altı yedi sekiz dokuz on""",
}

# Words of one list that English uses too, or that stand in formulas and names: they take their neighbours' language.
_SHARED_WORDS = """also die war man will am an in so was has hat bald rest kind mit on or me son car comme plus minus
    des fin est par sin con come he no sea van per due sei ma fa tale quale dove sale do as dos os com um ate tem is
    we had of dan over want met door men mag toe weer den till var dem to on en de la el le los las da du un non six
    ten total is hier den als dies ne az top times double sera era ora solo pour sur sans sous mal gut fort hence
    more sole tu se si not note ten o"""
_SHARED = frozenset(_SHARED_WORDS.split())

_WORDS = {language: frozenset(words.split()) for language, words in _LISTS.items()}
_OWNERS: dict[str, frozenset[str]] = {
    word: frozenset(language for language, words in _WORDS.items() if word in words)
    for word in frozenset().union(*_WORDS.values())
}

# Bounded where a closing sign may be missing, so that one stray dollar sign does not swallow the rest of a text.
_NOT_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|</?[A-Za-z_][\w-]{0,30}[^<>\n]{0,40}>|\$\$.{0,2000}?\$\$|\$[^$\n]{0,500}\$"
    r"|\\\[.{0,2000}?\\\]"
    r"|\\\(.{0,500}?\\\)|\\[A-Za-z]+|https?://\S+|\b[A-Za-z_]\w*\(|(?<!\w)[A-Za-z]\w*_\w+"
    r"|(?<![A-Za-z\d])[A-Za-z]*\d[A-Za-z\d]*",
    re.DOTALL,
)
_SEGMENT = re.compile(r"[.!?;:\n。！？]+")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_SCRIPTS = (
    ("hangul", 0x1100, 0x11FF), ("hangul", 0x3130, 0x318F), ("hangul", 0xAC00, 0xD7AF), ("kana", 0x3040, 0x30FF),
    ("kana", 0x31F0, 0x31FF), ("han", 0x3400, 0x4DBF), ("han", 0x4E00, 0x9FFF), ("han", 0xF900, 0xFAFF),
    ("han", 0x20000, 0x3FFFF), ("latin", 0x41, 0x5A), ("latin", 0x61, 0x7A), ("latin", 0xAA, 0x24F),
    ("latin", 0x1E00, 0x1EFF), ("greek", 0x370, 0x3FF), ("cyrillic", 0x400, 0x52F), ("hebrew", 0x590, 0x5FF),
    ("arabic", 0x600, 0x6FF), ("devanagari", 0x900, 0x97F), ("bengali", 0x980, 0x9FF), ("thai", 0xE00, 0xE7F),
)  # fmt: skip
_BY_SCRIPT = {
    "hangul": "ko", "kana": "ja", "han": "zh", "cyrillic": "ru", "greek": "el", "hebrew": "he", "arabic": "ar",
    "devanagari": "hi", "bengali": "bn", "thai": "th",
}  # fmt: skip
_TERM_WORDS = "sin cos tan log ln exp mod gcd lcm max min km cm mm kg mg ml mph kmh usd eur ok def return lambda"
_TERMS = frozenset(_TERM_WORDS.split())


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    point = ord(character)
    return next((name for name, low, high in _SCRIPTS if low <= point <= high), "other")


def language_of(text: str) -> str:
    """The language that most of a text is in, as a two-letter code; "en" where nothing tells.

    Languages of scripts other than Latin stand for their script: Cyrillic is "ru", Devanagari "hi".
    """
    counts: Counter[str] = Counter()
    for segment in _segments(text):
        for script, word in segment:
            if script != "latin":
                counts[_BY_SCRIPT.get(script, script)] += _size(script, word)
            else:
                for owner in _OWNERS.get(word.lower(), ()):
                    # A shared word is a weak sign, but in a short prompt it may be the only one.
                    counts[owner] += 1 if word.lower() in _SHARED else 2
    if counts["ja"] and counts["zh"]:
        counts["ja"] += counts.pop("zh")  # Japanese is written with both
    # English first among equals, then by name, so that the answer never depends on the order of a set.
    return max(sorted(counts, key=lambda name: (name != "en", name)), key=lambda name: counts[name], default="en")


def words_by_language(text: str, target: str) -> Counter[str]:
    """Number of language-bearing words of `text` by language; words that nothing tells apart count for `target`.

    Two Han or Kana characters count as one word.
    """
    counts: Counter[str] = Counter()
    for segment in _segments(text):
        known: Counter[str] = Counter()
        undecided = 0
        for position, (script, word) in enumerate(segment):
            if script != "latin":
                language = _BY_SCRIPT.get(script, script)
                # Han characters alone do not tell Chinese from Japanese.
                language = "ja" if script == "han" and target == "ja" else language
                counts[language] += _size(script, word)
                continue
            lower = word.lower()
            owners = _OWNERS.get(lower, frozenset())
            name_like = position > 0 and word[0].isupper()  # "Los Angeles" is no Spanish
            if target in owners and lower not in _SHARED:
                known[target] += 1
            elif len(owners) == 0 or lower in _SHARED or name_like:
                undecided += 1
            else:
                known[_likeliest(owners, known)] += 1
        counts.update(known)
        # Names and shared words take the language of the sentence that they stand in.
        if undecided:
            latin_target = target in _WORDS
            best = max(known, key=lambda name: (known[name], name == target), default=None)
            counts[best or (target if latin_target else "latin")] += undecided
    return counts


def _likeliest(owners: frozenset[str], known: Counter[str]) -> str:
    return max(sorted(owners), key=lambda name: known[name])


def _size(script: str, word: str) -> int:
    return (len(word) + 1) // 2 if script in ("han", "kana") else 1


def _segments(text: str) -> list[list[tuple[str, str]]]:
    """Sentences as lists of (script, word), without what carries no language."""
    found = []
    for part in _SEGMENT.split(_NOT_PROSE.sub(" ", text)):
        words = []
        for token in _TOKEN.findall(part):
            if token.isascii():
                if len(token) > 1 and token.lower() not in _TERMS and not (token.isupper() and len(token) <= 5):
                    words.append(("latin", token))
            else:
                words.extend(_runs(token))
        if words:
            found.append(words)
    return found


def _runs(token: str) -> list[tuple[str, str]]:
    """A token cut where its script changes, as in Japanese; single letters of alphabets are left out as symbols."""
    runs: list[tuple[str, str]] = []
    for character in token:
        script = _script(character)
        if runs and (runs[-1][0] == script or script == "other"):
            runs[-1] = (runs[-1][0], runs[-1][1] + character)
        elif script != "other":
            runs.append((script, character))
    return [(script, word) for script, word in runs if len(word) > 1 or script in ("han", "kana", "hangul")]
