"""Reading and comparing mathematical answers: cleaning, exact algebra, the types of answers, and the slow oracle."""
