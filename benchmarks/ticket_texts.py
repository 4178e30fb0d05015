"""What tickets say and what is replied, for `benchmarks.ticket_day`: each with its rephrasing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

TOPICS: Final[Mapping[str, Sequence[tuple[str, str]]]] = {
    "refund": (
        ("I would like a refund of the {amount} I paid for the {product}.",
         "The customer paid {amount} for the {product} and would like a refund."),
        ("Please send my money back for the {product}, all {amount} of it.",
         "They ask that the money for the {product}, {amount}, be sent back."),
        ("The {product} was charged twice, so refund the second {amount} soon.",
         "The {product} was charged two times; the second {amount} should be a refund."),
    ),
    "cancel": (
        ("Kindly cancel the subscription that came with my {product} before {date}.",
         "The subscription that came with the {product} should be cancelled before {date}."),
        ("From {date} on I want to cancel the extended warranty of the {product}.",
         "The customer wants the extended warranty of the {product} cancelled from {date} on."),
    ),
    "urgent": (
        ("This is urgent, the concert in {city} starts on {date}.",
         "It is urgent because the concert in {city} starts on {date}."),
        ("I need an answer as soon as possible, my studio in {city} stands still.",
         "An answer is needed as soon as possible since the studio in {city} stands still."),
    ),
    "legal": (
        ("Otherwise my lawyer in {city} will write to you after {date}.",
         "If nothing happens a lawyer in {city} will write after {date}."),
        ("My lawyer says that the consumer court of {city} decides such cases.",
         "A lawyer told the customer that the consumer court of {city} decides such cases."),
    ),
    "delivery": (
        ("The parcel with the {product} has not arrived in {city} since {date}.",
         "The {product} parcel, expected in {city} since {date}, has not arrived."),
        ("Where is the delivery of my {product}, the tracking page shows {city} since {date}?",
         "They ask where the delivery of the {product} is; the tracking page shows {city} "
         "since {date}."),
    ),
    "other": (
        ("The left channel of the {product} crackles above half volume.",
         "Above half volume the left channel of the {product} crackles."),
        ("My {product} loses its Bluetooth pairing whenever the phone locks.",
         "Whenever the phone locks, the {product} loses its Bluetooth pairing."),
        ("Does the {product} work with a 110 volt socket in {city}?",
         "The question is whether the {product} works with a 110 volt socket in {city}."),
        ("The firmware of the {product} stopped updating on {date}.",
         "Since {date} the firmware of the {product} has stopped updating."),
    ),
}  # fmt: skip
"""Topic → sentences of a ticket, each with the same in other words."""

REPLIES: Final[Mapping[str, tuple[str, str]]] = {
    "refund": (
        "Under section four of the handbook a purchase is refunded within fourteen working days to "
        "the account it was paid from, provided that the {product} is returned complete. A return "
        "label is attached; the courier collects parcels every weekday before noon.",
        "We will gladly refund your purchase within fourteen working days to the account it was "
        "paid from, as section four of our handbook provides, once the complete {product} is "
        "returned. You will find a return label attached, and the courier happily collects parcels "
        "every weekday before noon."),
    "cancel": (
        "Your contract ends with the current billing period and no further payment is taken. "
        "Recordings that are stored online remain available for ninety days and can be exported "
        "from the settings page.",
        "No further payment will be taken, and your contract simply ends with the current billing "
        "period. Your stored recordings remain available online for ninety days, and you can "
        "export them from the settings page whenever it suits you."),
    "urgent": (
        "Because the matter cannot wait, a technician was assigned and telephones between nine and "
        "eleven tomorrow. Should the repair take longer, a replacement unit is lent at no charge.",
        "As this cannot wait, we have assigned a technician, who telephones you tomorrow between "
        "nine and eleven. Should your repair take longer, we lend you a replacement unit at no "
        "charge, of course."),
    "legal": (
        "Our legal department received a copy of the correspondence. Claims under the statutory "
        "guarantee are unaffected by anything in this message, and the ombudsman can be reached at "
        "no cost.",
        "We have passed a copy of our correspondence to the legal department. Nothing in this "
        "message affects your claims under the statutory guarantee, and you can reach the "
        "ombudsman at no cost."),
    "delivery": (
        "The carrier confirmed that the consignment was held at the regional depot and leaves it "
        "with the next van. A new tracking link follows by text message.",
        "Good news: the carrier confirmed that your consignment, held at the regional depot, "
        "leaves with the next van. You will receive a new tracking link by text message."),
    "close": (
        "For the technical question we suggest resetting the {product}: hold the power button for "
        "twelve seconds until the lamp blinks, then pair it again within one minute. If the fault "
        "persists, reply with a short recording of the sound and the serial number printed "
        "underneath the battery cover. Our workshop answers within two working days, and the "
        "warranty covers parts as well as labour until the end of the third year.",
        "To solve the technical question, may we suggest resetting your {product}? Simply hold the "
        "power button for twelve seconds until the lamp blinks, and pair it again within one "
        "minute. If the fault persists, just reply with a short recording of the sound and the "
        "serial number printed underneath the battery cover. Our workshop answers within two "
        "working days, and your warranty covers parts as well as labour until the end of the third "
        "year."),
}  # fmt: skip
"""Topic → a paragraph of the reply, and the same in a warmer tone; ``close`` ends every reply."""
