"""Conversations as token ids, with which of the tokens are the assistant's: by the tokenizer's own chat template."""

from pipeline.data.chat.conversations import Conversation, Conversations, Encoded, Unfit

__all__ = ["Conversation", "Conversations", "Encoded", "Unfit"]
