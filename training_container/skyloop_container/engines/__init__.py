"""What runs the exported network: one module for each engine, all behind `base.Engine`."""
