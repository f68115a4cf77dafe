"""Examples of answers, for the description of the API."""

from typing import Any, Final

_SIGNAL_ID: Final = "a518ebf3-abe9-5412-9974-060591df9a17"
_ENTITY_ID: Final = "d85ac2ab-e812-59c9-848b-7ffdacb8e0c3"
_ASSIGNMENT_ID: Final = "bb141a5d-5d96-4672-bcc9-1cc0ed9bbf25"
_RULE_ID: Final = "3cfdcc86-0ec2-508f-b8db-579862b1ea2d"
_NURSING: Final = {"id": "3f2b8c1e-6a55-4b9a-9d0e-2f6f0a4c7b11", "name": "Nursing Leadership"}
_CLINICAL: Final = {"id": "708e4281-22af-45fb-ac97-90677cd57f58", "name": "Clinical Leadership"}
_ADMIN: Final = {"id": "0e7a81a9-d01e-43b4-a55d-c2106c9cec92", "name": "Admin"}

Example = dict[str, Any]

ASSIGNMENT: Final[Example] = {
    "id": _ASSIGNMENT_ID,
    "signal_id": _SIGNAL_ID,
    "entity_id": _ENTITY_ID,
    "status": "assigned",
    "allowed_next_statuses": ["in_progress", "new"],
    "assignee_id": _NURSING["id"],
    "assignee": _NURSING,
    "assigner_id": _CLINICAL["id"],
    "assigner": _CLINICAL,
    "role_type": "nursing_leadership",
    "rule_id": None,
    "rule_version": None,
    "notes": "Please look at the evening shift.",
    "resolution_notes": None,
    "resolution_reason": None,
    "resolved_by": None,
    "assigned_at": "2026-07-02T09:00:00Z",
    "started_at": None,
    "resolved_at": None,
    "closed_at": None,
    "due_at": "2026-07-09T09:00:00Z",
    "is_overdue": False,
    "snoozed_until": None,
    "snooze": None,
    "created_at": "2026-07-02T09:00:00Z",
    "updated_at": "2026-07-02T09:00:00Z",
    "superseded_by": None,
    "reopens": None,
    "etag": '"1"',
}

SIGNAL: Final[Example] = {
    "metric_id": "edBreachRate",
    "facility": "Northfield General",
    "facility_id": "NG1",
    "system_name": "Northfield",
    "service_line": "Emergency",
    "group_value": "Type 1",
    "description": "Waits over four hours are more frequent than at peers.",
    "signal_type": "chronic_underperformer",
    "severity": 88,
    "detected_at": "2026-07-01T00:00:00Z",
}

LISTED_ASSIGNMENT: Final[Example] = {**ASSIGNMENT, "signal": SIGNAL}

ASSIGNMENT_PAGE: Final[Example] = {
    "assignments": [LISTED_ASSIGNMENT],
    "limit": 25,
    "cursor": None,
    "has_more": False,
}

BULK_RESULTS: Final[Example] = {
    "results": [
        {"signal_id": _SIGNAL_ID, "status": 200, "assignment": ASSIGNMENT, "problem": None},
        {
            "signal_id": "436366d0-b6f9-564d-8140-b0b79e6bbe53",
            "status": 409,
            "assignment": None,
            "problem": {
                "code": "transition_not_allowed",
                "detail": "A signal that is new does not become in_progress.",
                "errors": [],
            },
        },
    ],
    "succeeded": 1,
    "failed": 1,
}

COMMENT: Final[Example] = {
    "id": "5a0c1de2-6a3c-4f0e-8a53-0a3d6d0b8f5e",
    "signal_id": _SIGNAL_ID,
    "author": _NURSING,
    "text": "The evening shift was short of two nurses.",
    "created_at": "2026-07-02T10:30:00Z",
}

COMMENT_PAGE: Final[Example] = {"comments": [COMMENT], "limit": 25, "cursor": None, "has_more": False}

HISTORY: Final[Example] = {
    "signal_id": _SIGNAL_ID,
    "history": [
        {
            "kind": "assigned",
            "from_status": "new",
            "to_status": "assigned",
            "at": "2026-07-02T09:00:00Z",
            "by": _CLINICAL,
            "assignee": _NURSING,
            "notes": "Please look at the evening shift.",
            "resolution_notes": None,
            "resolution_reason": None,
            "rule_id": None,
            "rule_version": None,
            "assignment_id": _ASSIGNMENT_ID,
            "signal_id": _SIGNAL_ID,
            "previous_signal_id": None,
        }
    ],
}

ASSIGNEES: Final[Example] = {"assignees": [{**_NURSING, "role": "nursing_leadership"}]}

RULE_REQUEST: Final[Example] = {
    "name": "Emergency waits of Lakeside",
    "enabled": True,
    "position": 1,
    "conditions": {
        "domain": ["Effectiveness"],
        "facility": [],
        "system_name": ["Lakeside Health"],
        "service_line": ["Emergency"],
        "metric_id": [],
        "signal_type": ["critical_trajectory", "chronic_underperformer"],
        "minimum_severity": 60,
    },
    "assignee_id": _NURSING["id"],
    "role_type": "nursing_leadership",
}

RULE: Final[Example] = {
    "id": _RULE_ID,
    **RULE_REQUEST,
    "assignee": _NURSING,
    "skipped": None,
    "version": 1,
    "created_at": "2026-07-02T09:00:00Z",
    "updated_at": "2026-07-02T09:00:00Z",
    "etag": '"1"',
}

RULES: Final[Example] = {
    "rules": [
        RULE
        | {
            "skipped": {
                "code": "assignee_inactive",
                "detail": "The account of Nursing Leadership is not active.",
            }
        }
    ]
}

RULE_VERSIONS: Final[Example] = {
    "versions": [
        {
            "version": 1,
            "rule": RULE_REQUEST | {"deleted": False},
            "changed_by": _ADMIN,
            "changed_at": "2026-07-02T09:00:00Z",
        }
    ],
    "limit": 25,
    "cursor": None,
    "has_more": False,
}

DRY_RUN: Final[Example] = {
    "signals_looked_at": 1000,
    "matched": 1,
    "assigned": 1,
    "rules": [
        {
            "rule": {"id": None, "name": "Emergency waits of Lakeside", "position": 1},
            "matched": 1,
            "assigned": 1,
            "lost": 0,
            "skipped": None,
        }
    ],
    "signals": [
        {
            "signal_id": _SIGNAL_ID,
            "signal": SIGNAL,
            "outcome": "assigned",
            "winner": {"id": None, "name": "Emergency waits of Lakeside", "position": 1},
            "assignee": _NURSING,
            "role_type": "nursing_leadership",
        }
    ],
}

_LOAD: Final[Example] = {
    "open": 2,
    "overdue": 1,
    "snoozed": 0,
    "by_status": {"new": 0, "assigned": 1, "in_progress": 1, "resolved": 0},
    "assigned": 5,
    "resolved": 3,
    "median_days_to_assign": 1.25,
    "median_days_to_resolve": 9.5,
}

SUMMARY: Final[Example] = {
    "from": "2026-04-03T09:00:00Z",
    "to": "2026-07-02T09:00:00Z",
    "total": _LOAD,
    "people": [{"person": _NURSING, **_LOAD}],
    "roles": [{"role_type": "nursing_leadership", **_LOAD}],
    "statuses": [
        {"status": "new", "open": 0, "overdue": 0, "snoozed": 0},
        {"status": "assigned", "open": 1, "overdue": 1, "snoozed": 0},
        {"status": "in_progress", "open": 1, "overdue": 0, "snoozed": 0},
        {"status": "resolved", "open": 0, "overdue": 0, "snoozed": 0},
    ],
}
