"""Teaching a student by a teacher's probabilities: the arithmetic, the teacher, and a file for each method."""
