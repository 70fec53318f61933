"""Rules for approval, and what a batch that needs it carries; the database insists on it."""

from typing import ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [
        ('invoices', '0007_final_record'),
        ('providers', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar = [
        migrations.CreateModel(
            name='ApprovalRule',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('measure', models.CharField(choices=[('count', 'Invoices in a batch'), ('single', 'Amount of one invoice'), ('total', 'Amounts of a batch together'), ('day_count', 'Invoices that one person asks for within 24 hours'), ('day_total', 'Amounts that one person asks for within 24 hours')], max_length=10)),
                ('threshold', models.BigIntegerField(help_text='From so many invoices, or from so many minor units of the currency.')),
                ('currency', models.CharField(blank=True, max_length=12)),
                ('exponent', models.PositiveSmallIntegerField(default=0)),
                ('delay_minutes', models.PositiveSmallIntegerField(default=0, help_text='Between approval and the first request, to recall the batch.')),
                ('is_active', models.BooleanField(default=True)),
            ],
            options={
                'verbose_name': 'approval rule',
                'ordering': ['-is_active', 'account__name', 'measure', 'currency', 'threshold'],
            },
        ),
        migrations.CreateModel(
            name='AwaitingBatch',
            fields=[
            ],
            options={
                'verbose_name': 'batch waiting for approval',
                'verbose_name_plural': 'batches waiting for approval',
                'ordering': ['expires_at', 'id'],
                'proxy': True,
                'default_permissions': (),
                'indexes': [],
                'constraints': [],
            },
            bases=('invoices.cancellationbatch',),
        ),
        migrations.AlterModelOptions(
            name='cancellationbatch',
            options={'ordering': ['-id'], 'permissions': [('control_cancellationbatch', 'Can pause, resume, stop and retry own batches'), ('approve_cancellationbatch', 'Can approve or reject batches of others'), ('recall_cancellationbatch', 'Can recall batches of others before they start')], 'verbose_name': 'cancellation batch', 'verbose_name_plural': 'cancellation batches'},
        ),
        migrations.RemoveConstraint(
            model_name='cancellationbatch',
            name='batch_state_is_known',
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='answer_note',
            field=models.TextField(blank=True, help_text='What the approver said to it.', max_length=2000),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='approval_digest',
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='approval_key',
            field=models.UUIDField(null=True, unique=True),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='approval_reasons',
            field=models.JSONField(default=list, help_text='The rules by which it needs approval, in words.'),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='delay_minutes',
            field=models.PositiveSmallIntegerField(default=0, help_text='Between approval and the first request, to recall it.'),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='ended_by',
            field=models.ForeignKey(help_text='Who rejected it, or recalled it before it began.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='expires_at',
            field=models.DateTimeField(help_text='Until then it can be approved.', null=True),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='needs_approval',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='cancellationbatch',
            name='starts_at',
            field=models.DateTimeField(help_text='Approved with a delay: nothing is sent before.', null=True),
        ),
        migrations.AlterField(
            model_name='cancellationbatch',
            name='state',
            field=models.CharField(choices=[('draft', 'Draft'), ('awaiting_approval', 'Awaiting approval'), ('running', 'Running'), ('paused', 'Paused'), ('stopping', 'Stopping'), ('finished', 'Finished'), ('rejected', 'Rejected'), ('discarded', 'Discarded'), ('recalled', 'Recalled'), ('expired', 'Expired')], default='draft', max_length=20),
        ),
        migrations.AddConstraint(
            model_name='cancellationbatch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['running', 'paused', 'stopping', 'finished']), _negated=True), ('needs_approval', False), models.Q(('approved_at__isnull', False), ('approved_by__isnull', False), models.Q(('approval_digest', ''), _negated=True)), _connector='OR'), name='batch_runs_approved_where_needed'),
        ),
        migrations.AddConstraint(
            model_name='cancellationbatch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'awaiting_approval'), _negated=True), models.Q(('approval_key__isnull', False), ('approved_by__isnull', True), ('expires_at__isnull', False), ('needs_approval', True), models.Q(('approval_digest', ''), _negated=True)), _connector='OR'), name='batch_awaits_something_definite'),
        ),
        migrations.AddConstraint(
            model_name='cancellationbatch',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'rejected'), _negated=True), models.Q(('ended_by__isnull', False), models.Q(('ended_by', models.F('requested_by')), _negated=True), models.Q(('answer_note', ''), _negated=True)), _connector='OR'), name='batch_rejected_by_another_with_a_note'),
        ),
        migrations.AddConstraint(
            model_name='cancellationbatch',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'awaiting_approval', 'running', 'paused', 'stopping', 'finished', 'rejected', 'discarded', 'recalled', 'expired'])), name='batch_state_is_known'),
        ),
        migrations.AddField(
            model_name='approvalrule',
            name='account',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='providers.provideraccount'),
        ),
        migrations.AddConstraint(
            model_name='approvalrule',
            constraint=models.CheckConstraint(condition=models.Q(('threshold__gte', 0)), name='rule_threshold_is_no_debt'),
        ),
        migrations.AddConstraint(
            model_name='approvalrule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('currency', ''), ('exponent', 0), ('measure__in', ['count', 'day_count'])), models.Q(('measure__in', ['single', 'total', 'day_total']), models.Q(('currency', ''), _negated=True)), _connector='OR'), name='rule_amount_has_a_currency'),
        ),
    ]
