"""faceflow: who is this covered face, how sure are we, and which parts of the face say so?"""

__version__ = "0.1.0"
