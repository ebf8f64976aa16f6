"""A local SageMaker, with the part of Application Auto Scaling that its endpoints need. `service` is the way in."""
