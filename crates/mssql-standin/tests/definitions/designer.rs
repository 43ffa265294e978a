//! The records of scripts that a table designer made on 2008: tables are made as heaps and get their keys then, and of each change it is said how the locks of the
//! table grow.

use super::records::{ONLY_RUN, check};

const LOG: &str = "pairs/trivia-2008/before/Database1_log.ldf";

#[test]
fn trivia_is_designed() {
    check(
        LOG,
        true,
        "CREATE TABLE t (id int); DROP TABLE t",
        &[
            // The table is gone: what is known of its column is the length of the name.
            (
                (0x13, 0x39, 0x1B),
                0x5C,
                "BEGIN TRAN;
CREATE TABLE dbo.Table2 (id_of_twelve int NOT NULL) ON [PRIMARY];
ALTER TABLE dbo.Table2 ADD CONSTRAINT PK_Table2 PRIMARY KEY CLUSTERED (id_of_twelve) WITH (STATISTICS_NORECOMPUTE = OFF, IGNORE_DUP_KEY = OFF, ALLOW_ROW_LOCKS = ON, ALLOW_PAGE_LOCKS = ON) ON [PRIMARY];
ALTER TABLE dbo.Table2 SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            // 2008 wrote the identities of new tables otherwise.
            (
                ONLY_RUN,
                0,
                "BEGIN TRAN; CREATE TABLE dbo.Answers (AnsID int NOT NULL IDENTITY (1, 1), AnsQueID int NOT NULL, AnsImagePath varchar(255) NULL, AnsCorrect bit NOT NULL, AnsInactive bit NOT NULL, AnsAnswer varchar(255) NULL) ON [PRIMARY]",
            ),
            (
                (0x13, 0xD8, 0x29),
                0x6A,
                "ALTER TABLE dbo.Answers ADD CONSTRAINT DF_Answers_AnsInactive DEFAULT 0 FOR AnsInactive;
ALTER TABLE dbo.Answers ADD CONSTRAINT PK_Answers PRIMARY KEY CLUSTERED (AnsID) ON [PRIMARY];
ALTER TABLE dbo.Answers SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (
                (0x13, 0xF1, 0x13),
                0x2B,
                "BEGIN TRAN;
EXECUTE sp_rename N'dbo.Answers.AnsAnswer', N'Tmp_AnsText', 'COLUMN';
EXECUTE sp_rename N'dbo.Answers.Tmp_AnsText', N'AnsText', 'COLUMN';
ALTER TABLE dbo.Answers SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (
                ONLY_RUN,
                0,
                "BEGIN TRAN; CREATE TABLE dbo.Questions (QueID int NOT NULL IDENTITY (1, 1), QueQuestion varchar(255) NOT NULL, QueDropSpeed int NULL, QueInactive bit NOT NULL) ON [PRIMARY]",
            ),
            (
                (0x13, 0xF8, 0x33),
                0x70,
                "ALTER TABLE dbo.Questions ADD CONSTRAINT DF_Questions_QueInactive DEFAULT 0 FOR QueInactive;
ALTER TABLE dbo.Questions ADD CONSTRAINT PK_Questions PRIMARY KEY CLUSTERED (QueID) ON [PRIMARY];
ALTER TABLE dbo.Questions SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (ONLY_RUN, 0, "INSERT dbo.Questions VALUES ('Who?', 1, 0)"),
            (
                (0x13, 0x177, 6),
                0x2E,
                "BEGIN TRAN;
ALTER TABLE dbo.Questions ADD QueDifficulty int NOT NULL CONSTRAINT DF_Questions_QueDifficulty DEFAULT 0;
ALTER TABLE dbo.Questions SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (
                ONLY_RUN,
                0,
                "BEGIN TRAN; CREATE TABLE dbo.Guesses (GueID int NOT NULL IDENTITY (1, 1), GueAnsID int NOT NULL) ON [PRIMARY]",
            ),
            (
                (0x14, 0xA4, 0x1D),
                0x4B,
                "ALTER TABLE dbo.Guesses ADD CONSTRAINT PK_Guesses PRIMARY KEY CLUSTERED (GueID) ON [PRIMARY];
ALTER TABLE dbo.Guesses SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (
                ONLY_RUN,
                0,
                "BEGIN TRAN; CREATE TABLE dbo.Games (GamID int NOT NULL, GamPlayerName varchar(255) NULL, GamScore int NULL, GamDateTime datetime NULL, GamDifficulty int NOT NULL IDENTITY (1, 1)) ON [PRIMARY]",
            ),
            (
                (0x14, 0xFC, 0x26),
                0x5A,
                "ALTER TABLE dbo.Games ADD CONSTRAINT PK_Games PRIMARY KEY CLUSTERED (GamID) ON [PRIMARY];
ALTER TABLE dbo.Games SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            ((0x14, 0x111, 0x12), 0x17, "BEGIN TRAN;
ALTER TABLE dbo.Games SET (LOCK_ESCALATION = TABLE);
COMMIT"),
            (
                (0x14, 0x115, 1),
                0x2D,
                "BEGIN TRAN;
ALTER TABLE dbo.Guesses ADD GueGamID int NULL;
ALTER TABLE dbo.Guesses ADD CONSTRAINT FK_Guesses_Games FOREIGN KEY (GueGamID) REFERENCES dbo.Games (GamID) ON UPDATE NO ACTION ON DELETE NO ACTION;
ALTER TABLE dbo.Guesses SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
            (
                (0x14, 0x15E, 1),
                0x23,
                "BEGIN TRAN;
ALTER TABLE dbo.Answers ADD CONSTRAINT FK_Answers_Questions FOREIGN KEY (AnsQueID) REFERENCES dbo.Questions (QueID) ON UPDATE NO ACTION ON DELETE NO ACTION;
ALTER TABLE dbo.Answers SET (LOCK_ESCALATION = TABLE);
COMMIT",
            ),
        ],
    );
}
