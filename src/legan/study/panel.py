"""Names that panels give to people, told from the placeholder that stands in a link where the panel did not fill it in.

Panels write placeholders in many ways: `{{%PROLIFIC_PID%}}`, `${workerId}`, `[%RID%]`, `%%id%%`, `<id>`, `#{id}`, `$id`. All of them hold
a character that no panel's names hold, or are the bare name of a parameter. Taken for a name, a placeholder would let everybody in as one
and the same rater.
"""

_NAME_MARKS = frozenset("-_.@+=/:~ ")  # beside letters and digits: of e-mail addresses, base64 and namespaced names
_NOT_NAMES = frozenset((
    "assignmentid", "assignmentidnotavailable", "empty", "externalid", "hitid", "id", "insertidhere", "memberid", "na",
    "nan", "none", "notavailable", "null", "panelid", "panelistid", "participant", "participantid", "person", "personid",
    "pid", "placeholder", "prolificid", "prolificpid", "psid", "respondent", "respondentid", "responseid", "rid", "session",
    "sessionid", "sid", "studyid", "subject", "subjectid", "surveycode", "tid", "transactionid", "transid", "undefined",
    "unknown", "user", "userid", "uid", "worker", "workerid", "xxx", "yourid",
))  # fmt: skip


def is_name(text: str, parameter: str) -> bool:
    """Whether a link's value can be a person's name in a panel: it is no placeholder, and no program's word for nothing.

    Args:
        text: the value, as the browser sent it.
        parameter: of the link that holds it, such as PROLIFIC_PID.
    """
    if not all(letter.isalnum() or letter in _NAME_MARKS for letter in text):
        return False
    bare = _bare(text)
    return bool(bare) and bare != _bare(parameter) and bare not in _NOT_NAMES


def _bare(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum())
