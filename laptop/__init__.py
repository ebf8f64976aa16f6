"""The laptop cloud: MiniStack with its gaps closed, a local SageMaker, and the deployment of a SAM template to them."""
