"""The attention list: what needs a person, as rows of one form, and the notifications about new rows."""
