"""
moto's server, which stands in for AWS, plus what its CloudFormation lacks to deploy this service:

- warnings of cfn-lint do not reject a template;
- alarms, metric filters, invocation settings and the HTTP API are created, through moto's own API;
- a stack has outputs;
- a failed change set is rolled back, and one of type IMPORT adopts existing tables.

Streams do not invoke functions; the test does. The server exits when its standard input closes, and so
together with the process that started it.

Usage: python3 moto-server.py PORT, with some AWS credentials in the environment
"""

import json
import os
import sys
import threading

import boto3
from botocore.exceptions import ClientError
from moto.awslambda.models import LambdaBackend
from moto.cloudformation import models, responses
from moto.cloudformation.exceptions import ValidationError
from moto.core.common_models import CloudFormationModel
from moto.dynamodb.models import Table, dynamodb_backends
from moto.iam.models import Role
from moto.server import main

PORT = sys.argv[1]

models.validate_template_cfn_lint = lambda template: []
LambdaBackend.send_dynamodb_items = lambda *_: None

# ---- resources


def put_policy(self, policy_name, policy_json):
    """A template contains an object, but IAM returns a text."""
    text = policy_json if isinstance(policy_json, str) else json.dumps(policy_json)
    put_policy_text(self, policy_name, text)


put_policy_text = Role.put_policy
Role.put_policy = put_policy


def client(service, region):
    return boto3.client(service, region, endpoint_url=f"http://127.0.0.1:{PORT}")


def lowered(value):
    """Names as the API of CloudWatch Logs spells them."""
    if isinstance(value, dict):
        return {name[0].lower() + name[1:]: lowered(it) for name, it in value.items()}
    return [lowered(it) for it in value] if isinstance(value, list) else value


def resource(kind, service, create, delete, reference):
    """
    :param create: the API call that takes the template's properties
    :param delete: the API call that deletes it, and a function that returns its arguments
    :param reference: the property, or field of the response, that Ref returns
    """

    def create_from_cloudformation_json(
        cls, resource_name, cloudformation_json, account_id, region_name, **_
    ):
        properties = cloudformation_json["Properties"]
        if service == "logs":
            properties = lowered({"FilterName": resource_name, **properties})
        it = cls()
        it.known = {**properties, **getattr(client(service, region_name), create)(**properties)}
        it.physical_resource_id = it.known[reference]
        return it

    def update_from_cloudformation_json(
        cls, original_resource, new_resource_name, cloudformation_json, account_id, region_name
    ):
        original_resource.delete(account_id, region_name)
        return cls.create_from_cloudformation_json(
            new_resource_name, cloudformation_json, account_id, region_name
        )

    def delete_it(self, account_id, region_name):
        call, wanted = delete
        try:
            getattr(client(service, region_name), call)(**wanted(self.known))
        except ClientError as error:
            # It was deleted together with its parent.
            if "NotFound" not in error.response["Error"]["Code"]:
                raise

    return type(
        kind,
        (CloudFormationModel,),
        {
            "cloudformation_type": staticmethod(lambda: kind),
            "cloudformation_name_type": staticmethod(lambda: ""),
            "create_from_cloudformation_json": classmethod(create_from_cloudformation_json),
            "update_from_cloudformation_json": classmethod(update_from_cloudformation_json),
            "delete": delete_it,
        },
    )


def picked(*names):
    return lambda known: {name: known[name] for name in names}


# moto finds these classes because they exist.
RESOURCES = [
    resource(
        "AWS::CloudWatch::Alarm",
        "cloudwatch",
        "put_metric_alarm",
        ("delete_alarms", lambda known: {"AlarmNames": [known["AlarmName"]]}),
        "AlarmName",
    ),
    resource(
        "AWS::Logs::MetricFilter",
        "logs",
        "put_metric_filter",
        ("delete_metric_filter", picked("logGroupName", "filterName")),
        "filterName",
    ),
    resource(
        "AWS::Lambda::EventInvokeConfig",
        "lambda",
        "put_function_event_invoke_config",
        ("delete_function_event_invoke_config", picked("FunctionName", "Qualifier")),
        "FunctionName",
    ),
    resource(
        "AWS::ApiGatewayV2::Api",
        "apigatewayv2",
        "create_api",
        ("delete_api", picked("ApiId")),
        "ApiId",
    ),
    resource(
        "AWS::ApiGatewayV2::Stage",
        "apigatewayv2",
        "create_stage",
        ("delete_stage", picked("ApiId", "StageName")),
        "StageName",
    ),
    resource(
        "AWS::ApiGatewayV2::Integration",
        "apigatewayv2",
        "create_integration",
        ("delete_integration", picked("ApiId", "IntegrationId")),
        "IntegrationId",
    ),
    resource(
        "AWS::ApiGatewayV2::Route",
        "apigatewayv2",
        "create_route",
        ("delete_route", picked("ApiId", "RouteId")),
        "RouteId",
    ),
]

# ---- change sets


def execute_change_set(self, change_set_name, stack_name=None):
    change_set = self.describe_change_set(change_set_name)
    stack = self.stacks[change_set.stack_id]
    resources = stack.resource_map
    before = dict(resources._parsed_resources)
    template = resources._template, resources._resource_json_map
    kind = change_set.change_set_type
    stack._add_stack_event(f"{kind}_IN_PROGRESS", resource_status_reason="User Initiated")
    importing.here = kind == "IMPORT"
    try:
        change_set.apply()
    except Exception as error:
        reason = getattr(error, "message", None) or str(error)
        stack._add_stack_event(f"{kind}_FAILED", resource_status_reason=reason)
        for name in [name for name in resources._parsed_resources if name not in before]:
            made = resources._parsed_resources[name]
            if hasattr(made, "logical_resource_id"):
                resources._delete_resource(made, resources._resource_json_map[name])
        resources._parsed_resources = before
        resources._template, resources._resource_json_map = template
        change_set.execution_status = "EXECUTE_FAILED"
        stack.status = "ROLLBACK_COMPLETE" if kind == "CREATE" else f"{kind}_ROLLBACK_COMPLETE"
    else:
        change_set.execution_status = "EXECUTE_COMPLETE"
        stack.status = f"{kind}_COMPLETE"
        stack.template = change_set.template
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        self.exports.update({export.name: export for export in stack.exports})
    finally:
        importing.here = False
    stack._add_stack_event(stack.status)


class importing:
    here = False


def table_from_template(cls, resource_name, cloudformation_json, account_id, region_name, **more):
    if importing.here:
        return dynamodb_backends[account_id][region_name].get_table(resource_name)
    return create_table(resource_name, cloudformation_json, account_id, region_name, **more)


def create_change_set(self):
    """CloudFormation's rules for an import that creates a stack."""
    if self._get_param("ChangeSetType") == "IMPORT":
        wanted = {it["LogicalResourceId"] for it in self._get_param("ResourcesToImport", [])}
        resources = models.Stack.parse_template(self._get_param("TemplateBody"))["Resources"]
        if wanted != set(resources):
            raise ValidationError(message="A stack that an import creates may contain imported resources only.")
        for name, it in resources.items():
            if "DeletionPolicy" not in it:
                raise ValidationError(message=f"{name} needs a DeletionPolicy to be imported.")
    return plain_create_change_set(self)


create_table = Table.create_from_cloudformation_json
Table.create_from_cloudformation_json = classmethod(table_from_template)
models.CloudFormationBackend.execute_change_set = execute_change_set
plain_create_change_set = responses.CloudFormationResponse.create_change_set
responses.CloudFormationResponse.create_change_set = create_change_set


def exit_with_input():
    sys.stdin.read()
    os._exit(0)


threading.Thread(target=exit_with_input, daemon=True).start()
main(["-H", "127.0.0.1", "-p", PORT])
