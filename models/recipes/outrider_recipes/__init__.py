"""What the recipes share: run set-up, data, export and quantization, the model folder."""
