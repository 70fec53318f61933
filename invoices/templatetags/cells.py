"""The cells of lists, on pages: see invoices/cells.py.

{% load cells %}
{% day invoice.due_on invoice.is_overdue %}
{% attempt row %}   {% answer response %}   {% took response %}
{% who event %}   {% change event %}   {% about event %}   {% detail event %}
"""

from django import template

from invoices import cells

register = template.Library()
for cell in (
    cells.about,
    cells.answer,
    cells.attempt,
    cells.change,
    cells.day,
    cells.detail,
    cells.took,
    cells.who,
):
    register.simple_tag(cell)
