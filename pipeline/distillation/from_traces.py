"""What a student is taught over traces, by teachers that are not in memory any more when it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from eval.language_model import LanguageModel, Tokenizer
from eval.protocol import Prompting
from pipeline.contract.errors import StageError
from pipeline.contract.numbers import MOST_TOKENS
from pipeline.contract.stage import Context
from pipeline.data.rows import Row
from pipeline.data.tokenized import Tokenized
from pipeline.distillation.cross_tokenizer import Aligned, CrossTaught, CrossTeacher, reader
from pipeline.distillation.distributions import Distributions, Learned, Reading, distributions
from pipeline.distillation.lesson import Taught
from pipeline.distillation.sections import Match
from pipeline.distillation.shared_words import SharedWords
from pipeline.distillation.teachers import Teachers, Words, loaded, words_of
from pipeline.distillation.verdicts import ByTeacher
from pipeline.models import pretrained, special_tokens


@dataclass(frozen=True)
class Course:
    """A student with its tokenizer, the rows of traces by their numbers, and the order in which it learns them. With
    `beyond` rows may be longer than models were made for."""

    ctx: Context
    student: LanguageModel
    tokenizer: Tokenizer
    match: Match
    rows: Mapping[int, Row]
    order: Sequence[int]
    beyond: bool = False

    def by_mean(self, teachers: Sequence[str]) -> Taught:
        """By the mean of the teachers at these input references."""
        words = words_of(self.ctx, teachers, self.student, self.tokenizer, self.match.top_k)
        return self._taught(self._told(teachers, words, self.rows), words)

    def by_best(self, teachers: Sequence[str], chosen: Sequence[int]) -> Taught:
        """By one teacher for each row, of which `chosen` has the number."""
        words = words_of(self.ctx, teachers, self.student, self.tokenizer, self.match.top_k)
        told = [self._told([teacher], words, {row: self.rows[row] for row in self.rows if chosen[row] == number})
                for number, teacher in enumerate(teachers)]
        return self._taught(ByTeacher(told, chosen), words)

    def across(self, teacher: str, how: Prompting, their_rows: Tokenized, numbers: Sequence[int]) -> CrossTaught:
        """By a teacher with another tokenizer, which has made `their_rows` of the rows with these `numbers`, put as
        `how` says. Raises StageError where the rows are not the same, or nowhere cut alike."""
        ctx, match, label = self.ctx, self.match, self.ctx.label(teacher)
        if other := {*numbers} ^ {*their_rows.numbers}:
            raise StageError(f"{label} cannot be asked about {len(other)} rows that the student "
                             "learns, or the other way round, since their templates do not take the same rows; leave "
                             "out bad_rows: drop to see the first of them")
        mine = reader(self.tokenizer, how, "the student")
        theirs = reader(pretrained.load_tokenizer(ctx.path(teacher)), how, label)
        known, their_known = (min(special_tokens.words(one.tokenizer), int(fields["vocab_size"])) for one, fields in (
            (mine, self.student.config.get_text_config().to_dict()), (theirs, pretrained.config_of(ctx.path(teacher)))
        ))
        words = SharedWords.of(mine, known, theirs, their_known, match.top_k)
        # What is beyond its context is learned without it.
        most = MOST_TOKENS if self.beyond else pretrained.context_of(ctx.path(teacher)) or MOST_TOKENS
        aligned = Aligned.of(mine, self.rows, theirs, {row: their_rows.row(row, 0.0, most) for row in self.rows}, words)
        tokens = sum(Learned(self.rows).counts().values())
        if not aligned.rows:
            reads = "" if most == MOST_TOKENS else f", of which {label} reads {most:,} tokens"
            raise StageError(f"{label} and the student read no part of the traces alike{reads}: take method: traces")
        ctx.note(f"{sum(aligned.counts().values()):,} spans hold {aligned.covered() / tokens:.1%} of what is learned; "
                 f"{len(words.mine.shared):,} of {known:,} words are {label}'s, too")
        told = distributions(
            ctx.cache, aligned, words, self._made_by([teacher]),
            lambda: CrossTeacher(loaded(ctx, teacher)[0], aligned, match.temperature), ctx.note
        )
        return CrossTaught(told, aligned, self.order, match.temperature, match.mix, self.tokenizer.pad_token_id)

    def _taught(self, told: Distributions | ByTeacher, words: Words) -> Taught:
        return Taught(told, self.order, words, self.match.temperature, self.match.mix, self.tokenizer.pad_token_id)

    def _told(self, teachers: Sequence[str], words: Words, rows: Mapping[int, Row]) -> Distributions:
        """The mean of what teachers tell of rows. Raises StageError where one was made for shorter ones."""
        longest = max((len(row["input_ids"]) for row in rows.values()), default=0)
        for teacher in teachers:
            self._require_context(teacher, longest)
        learned = Learned(rows)
        load = partial(Teachers.of, self.ctx, teachers, self.tokenizer, words, self.match.temperature)
        return distributions(
            self.ctx.cache, learned, words, self._made_by(teachers), lambda: Reading(load(), learned), self.ctx.note
        )

    def _require_context(self, teacher: str, longest: int) -> None:
        context = pretrained.context_of(self.ctx.path(teacher))
        if not self.beyond and context is not None and longest > context:
            raise StageError(f"{self.ctx.label(teacher)} was made for {context:,} tokens, and the longest row that it "
                             f"is asked about has {longest:,}: lower max_length, extend the teacher (kind: extend), or "
                             "set beyond_context: true")

    def _made_by(self, teachers: Sequence[str]) -> dict[str, object]:
        return {"teachers": [pretrained.sha256(self.ctx.path(one)) for one in teachers],
                "temperature": self.match.temperature}
