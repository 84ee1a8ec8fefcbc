"""What a run found, for people and programs: report.json, report.html, model card, terminal."""

from actprune.reporting.card import model_card as model_card
from actprune.reporting.html import render as render
from actprune.reporting.schema import Report as Report
from actprune.reporting.table import summary as summary
from actprune.reporting.table import summary_table as summary_table
from actprune.reporting.write import read_report as read_report
from actprune.reporting.write import write_report as write_report
