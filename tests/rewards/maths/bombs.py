"""Answers that are written to hang a grader or to fill its memory, by what they try. Data; never imported as a test."""

BOMBS = {
    # towers of powers
    "tower of nines": "9^{9^{9^9}}",
    "tower of tens": "10^{10^{10}}",
    "tower of e": "e^{e^{e^{e^{e^{e}}}}}",
    "tower of eight hundred": "3" + "^3" * 800,
    "tower without braces": "2^2^2^2^2^2^2^2^2^2^2",
    "power to a million digits": "7^{10^6}-7^{10^6}+5",
    "power of a power": "((((((2^{99})^{99})^{99})^{99})^{99})^{99})",
    "fractional power of a large number": "(10^{400}+1)^{\\frac{1}{7}}",
    "tiny power": "(1+10^{-9})^{10^{9}}",
    "exponent in letters": "(x^{x^{x^{x^{x}}}})^{99999999}",
    # factorials and binomials
    "factorial": "100000!",
    "factorial of a power": "(2^{1000})!",
    "fifty factorials": "5" + "!" * 50,
    "factorial of a fraction": "\\frac{(10^{7})!}{(10^{7}-1)!}",
    "binomial": "\\binom{10^{9}}{5\\cdot10^{8}}",
    "binomials in a row": "\\binom{99999}{2999}" * 60,
    "nested binomials": "\\binom{" * 30 + "9999" + "}{2999}" * 30,
    # sums, integrals, limits
    "sum": "\\sum_{k=1}^{10^{9}} \\frac{1}{k^3}",
    "sum of powers": "\\sum_{k=1}^{999999} k^{k^{k}}",
    "product": "\\prod_{p=1}^{10^{8}} (1-\\frac{1}{p^2})",
    "integral": "\\int_0^1 \\int_0^1 \\int_0^1 \\frac{\\sin(xyz)e^{x^{y^{z}}}}{1+x^2y^2z^2} dx dy dz",
    "limit": "\\lim_{x\\to 0} \\frac{\\sin^{99}(\\tan^{99}(x^{99}))}{x^{9999}}",
    # functions of large numbers, for the slow path
    "tangent": "\\tan(10^{10^{20}})",
    "sines in sines": "\\sin(" * 120 + "x" + ")" * 120,
    "tangents in powers": "\\tan(9^{9^{9}})^{\\sin(9^{9^{9}})}",
    "logarithm": "\\log_{1.0000001}(10^{10^{15}})",
    "many cosines": "\\cos x" + "+\\cos^{9} x" * 150,
    "expansion": "(\\sin a+\\sin b+\\sin c+\\sin d)^{80}",
    # algebra that grows
    "polynomial in four letters": "(x+y+z+w)^{60}",
    "polynomial of a high degree": "(x+1)^{1000}",
    "squares of squares": "(" * 12 + "x+y+1" + ")^2" * 12,
    "roots of different numbers": "(" + "+".join(f"\\sqrt{{{n}}}" for n in range(2, 60)) + ")^{8}",
    "root of a large number": "\\sqrt{" + "9" * 1500 + "}",
    # nesting and length
    "open braces": "{" * 100_000,
    "brackets": "(" * 900 + "1" + ")" * 900,
    "fractions": "\\frac{" * 200 + "1" + "}{2}" * 200,
    "roots": "\\sqrt{" * 100 + "2" + "}" * 100,
    "a hundred thousand digits": "1" * 100_000,
    # what makes a regular expression go back and back
    "commas, spaces and dots": ", . " * 24_000 + "!",
    "almost a number": "1 000" * 350 + "," + "1,000" * 40 + "x\\text{" * 3,
    # one sign after another
    "commas": "1," * 900 + "1",
    "comparisons": "x" + "<x" * 900,
    "bars": "|" * 1500,
    "threes": "0." + "3" * 1500,
    "letters": "a" * 1900,
    "open texts": "\\text{" * 300,
    "numbers side by side": "2 " * 900,
    "colons": "1:" * 900,
    "signs": "-" * 1901 + "5",
    "assignments": "x=" * 900 + "5",
    "percents": "\\%" * 900,
    "equals": "=" * 1990,
}
